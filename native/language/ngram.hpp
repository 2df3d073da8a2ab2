// A back-off n-gram model as an acceptor.
//
// A state is a context: the longest suffix of the words so far that the model can use, a number of 32 bits. A context
// and a word that follows it have an entry, with its log-probability and the next state. A word that does not follow a
// context is looked for from a shorter one, which costs the context's back-off weight. So a step from a state takes one
// search for each context on the way, and one for most words.
//
// All arrays lie in one block of memory, an image, which is also the file. It may be mapped, and shared by processes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "language/language_model.hpp"
#include "language/ngram_table.hpp"

namespace ctckit {

// What an image begins with. Numbers are in the machine's byte order.
struct NGramHeader {
  static constexpr std::uint64_t kMagic = 0x0a1a0a6d6c637463;  // "ctclm", and bytes that text tools would change
  static constexpr std::uint32_t kVersion = 2;
  static constexpr int kMostOrders = 16;

  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t order;
  std::uint64_t contexts, entries, words, text_bytes;
  std::uint64_t slots;               // of n-grams of two words and more
  std::uint64_t word_slots;          // a power of 2
  std::int32_t unknown, begin, end;  // <unk>, <s>, </s>; -1 without
  std::uint32_t reserved;
  std::uint64_t counts[kMostOrders];  // of n-grams, as the source listed them
};

class NGram : public LanguageModel {
 public:
  // The image must outlive the model. Throws std::runtime_error if it is no image of this version.
  explicit NGram(std::span<const std::byte> image);

  bool has_state(std::int64_t state) const override {
    return state >= 0 && static_cast<std::uint64_t>(state) < header_->contexts;
  }
  // An image that is broken gives wrong numbers, and nothing worse.
  Step step(std::int32_t state, std::int32_t word) const override;
  std::int32_t find(std::string_view word) const override;
  void find_all(std::span<const std::string_view> words, std::span<std::int32_t> numbers) const override;
  void prefetch(std::span<const std::int32_t> words) const override;
  std::string_view word(std::int32_t number) const override;
  void largest(std::span<double> bounds) const override;

  const NGramHeader& header() const { return *header_; }
  std::span<const std::byte> image() const { return image_; }

 private:
  friend class NGramBuilder;
  struct Word {
    float log_probability;  // without a context
    std::uint32_t next;
    float most;          // the largest log-probability in any context, without the weights of longer ones
    std::uint32_t text;  // where its text begins
  };
  struct Context {
    float back_off;         // nats
    std::uint32_t shorter;  // the next shorter context, a smaller number
  };
  struct WordSlot {
    std::uint32_t hash;    // the upper half
    std::uint32_t number;  // of the word, and 1; or 0
  };
  // Where each array begins, and the size of the image.
  struct Layout {
    explicit Layout(const NGramHeader& header);
    std::size_t word, context, entry, word_slot, text, size;
  };
  std::int32_t find(std::string_view word, std::uint64_t hash) const;
  template <class T>
  std::span<const T> array(std::size_t at, std::uint64_t count) const;

  std::span<const std::byte> image_;
  const NGramHeader* header_;
  std::span<const Word> word_;        // and one more, for the end of the last one's text
  std::span<const Context> context_;  // the first is the empty one
  std::span<const NGramEntry> entry_;
  NGramSlots slots_{1, 1, 1};
  std::span<const WordSlot> word_slot_;  // open addressing
  std::string_view text_;
};

// Hash of a word, of which images have parts.
std::uint64_t hash_of_word(std::string_view word);

}  // namespace ctckit
