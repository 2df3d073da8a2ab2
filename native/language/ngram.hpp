// A back-off n-gram model as an acceptor.
//
// A state is a context: the longest suffix of the words so far that the model can use, a number of 32 bits. A context
// has entries, the words that follow it, each with its log-probability and the next state. A word that does not follow
// it is looked for from a shorter context, which costs the context's back-off weight. So a step from a state takes one
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

namespace ctckit {

// What an image begins with. Numbers are in the machine's byte order.
struct NGramHeader {
  static constexpr std::uint64_t kMagic = 0x0a1a0a6d6c637463;  // "ctclm", and bytes that text tools would change
  static constexpr std::uint32_t kVersion = 1;
  static constexpr int kMostOrders = 16;

  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t order;
  std::uint64_t contexts, entries, words, text_bytes, slots;
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
  std::string_view word(std::int32_t number) const override;
  void largest(std::span<double> bounds) const override;

  const NGramHeader& header() const { return *header_; }
  std::span<const std::byte> image() const { return image_; }

 private:
  friend class NGramBuilder;
  struct Value {
    float log_probability;
    std::uint32_t next;
  };
  // Where each array begins, and the size of the image.
  struct Layout {
    explicit Layout(const NGramHeader& header);
    std::size_t first, back_off, shorter, word, value, text_begin, slots, text, size;
  };
  template <class T>
  std::span<const T> array(std::size_t at, std::uint64_t count) const;
  std::int64_t entry(std::uint32_t context, std::uint32_t word) const;  // -1 if there is none

  std::span<const std::byte> image_;
  const NGramHeader* header_;
  std::span<const std::uint32_t> first_;    // of each context, its first entry; and the end
  std::span<const float> back_off_;         // of each context, nats
  std::span<const std::uint32_t> shorter_;  // of each context, the next shorter one, a smaller number
  std::span<const std::uint32_t> word_;  // of each entry; ascending within a context. The empty context has all words
  std::span<const Value> value_;         // of each entry
  std::span<const std::uint32_t> text_begin_;
  std::span<const std::uint32_t> slots_;  // open addressing by hashes of words: number + 1, or 0
  std::string_view text_;
};

// Hash of a word, the same on every machine.
std::uint64_t hash_of_word(std::string_view word);

}  // namespace ctckit
