#include "language/ngram.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>
#include <string>

namespace ctckit {
namespace {

constexpr std::size_t kLine = 64;  // bytes: arrays begin at cache lines
constexpr std::uint64_t kMost = std::uint64_t{1} << 31;

std::size_t aligned(std::size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

}  // namespace

std::uint64_t hash_of_word(std::string_view word) {
  constexpr std::uint64_t factor = 0x9E3779B97F4A7C15;
  std::uint64_t hash = word.size() * factor, part;
  while (word.size() >= sizeof part) {
    std::memcpy(&part, word.data(), sizeof part);
    hash = (hash ^ part) * factor;
    hash ^= hash >> 32;
    word.remove_prefix(sizeof part);
  }
  part = 0;
  std::memcpy(&part, word.data(), word.size());
  hash = (hash ^ part) * factor;
  return hash ^ hash >> 29;
}

NGram::Layout::Layout(const NGramHeader& header) {
  std::size_t at = aligned(sizeof(NGramHeader));
  const auto take = [&](std::uint64_t count, std::size_t bytes) {
    const std::size_t begin = at;
    at = aligned(at + static_cast<std::size_t>(count) * bytes);
    return begin;
  };
  word = take(header.words + 1, sizeof(Word));
  context = take(header.contexts, sizeof(Context));
  entry = take(NGramSlots(header.contexts, header.words, header.slots).room(), sizeof(NGramEntry));
  word_slot = take(header.word_slots, sizeof(WordSlot));
  text = take(header.text_bytes, 1);
  size = at;
}

template <class T>
std::span<const T> NGram::array(std::size_t at, std::uint64_t count) const {
  return {reinterpret_cast<const T*>(image_.data() + at), static_cast<std::size_t>(count)};
}

NGram::NGram(std::span<const std::byte> image) : image_(image) {
  if (image.size() < sizeof(NGramHeader)) throw std::runtime_error("it is too short");
  header_ = reinterpret_cast<const NGramHeader*>(image.data());
  const NGramHeader& h = *header_;
  if (h.magic != NGramHeader::kMagic) throw std::runtime_error("it does not begin as such a file does");
  if (h.version != NGramHeader::kVersion)
    throw std::runtime_error("its version is " + std::to_string(h.version) + ", but this ctckit reads version " +
                             std::to_string(NGramHeader::kVersion));
  const bool is_possible = h.order >= 1 && h.order <= NGramHeader::kMostOrders && h.contexts >= 1 &&
                           h.contexts < kMost && h.entries < kMost && h.words >= 1 && h.words <= h.entries &&
                           h.text_bytes < kMost && h.word_slots > h.words && h.word_slots < 2 * kMost &&
                           std::has_single_bit(h.word_slots) &&
                           h.slots >= NGramSlots::least_slots(h.contexts, h.words, 0) && h.slots < 2 * kMost;
  if (!is_possible) throw std::runtime_error("its header is damaged");
  for (const std::int32_t word : {h.unknown, h.begin, h.end})
    if (word < -1 || word >= static_cast<std::int64_t>(h.words)) throw std::runtime_error("its header is damaged");
  const Layout layout(h);
  if (layout.size != image.size())
    throw std::runtime_error("it has " + std::to_string(image.size()) + " bytes, but should have " +
                             std::to_string(layout.size));
  facts_ = {static_cast<std::int64_t>(h.words), h.unknown, h.begin, h.end, {h.counts, h.counts + h.order}};
  word_ = array<Word>(layout.word, h.words + 1);
  context_ = array<Context>(layout.context, h.contexts);
  slots_ = NGramSlots(h.contexts, h.words, h.slots);
  entry_ = array<NGramEntry>(layout.entry, slots_.room());
  word_slot_ = array<WordSlot>(layout.word_slot, h.word_slots);
  text_ = {reinterpret_cast<const char*>(image.data() + layout.text), static_cast<std::size_t>(h.text_bytes)};
}

LanguageModel::Step NGram::step(std::int32_t state, std::int32_t word) const {
  auto context = static_cast<std::uint32_t>(state);
  const auto wanted = static_cast<std::uint32_t>(word);
  if (context >= header_->contexts || wanted >= header_->words) return {0, kEmpty};
  const auto step_to = [this](double log_probability, std::uint32_t next) {
    return Step{log_probability, static_cast<std::int32_t>(next < header_->contexts ? next : 0)};
  };
  double sum = 0;
  while (context > 0) {
    if (const NGramEntry* const entry = slots_.find(entry_, context, wanted))
      return step_to(sum + static_cast<double>(entry->log_probability), entry->next);
    const Context& left = context_[context];
    sum += static_cast<double>(left.back_off);
    context = left.shorter < context ? left.shorter : 0;
  }
  const Word& alone = word_[wanted];
  return step_to(sum + static_cast<double>(alone.log_probability), alone.next);
}

// A word's listed probability counts with the weights of the longer contexts, which may be positive.
void NGram::largest(std::span<double> bounds) const {
  double weights = 0;  // of all longer contexts together, at most
  for (const Context& context : context_) weights = std::max(weights, static_cast<double>(context.back_off));
  weights *= header_->order - 1;
  for (std::size_t k = 0; k < bounds.size(); ++k) bounds[k] = static_cast<double>(word_[k].most) + weights;
}

std::int32_t NGram::find(std::string_view word) const { return find(word, hash_of_word(word)); }

std::int32_t NGram::find(std::string_view word, std::uint64_t hash) const {
  const std::size_t mask = word_slot_.size() - 1;
  std::size_t slot = static_cast<std::size_t>(hash) & mask;
  for (std::size_t tries = 0; tries < word_slot_.size() && word_slot_[slot].number != 0; ++tries) {
    const WordSlot& at = word_slot_[slot];
    if (at.hash == static_cast<std::uint32_t>(hash >> 32) && at.number <= header_->words &&
        this->word(static_cast<std::int32_t>(at.number - 1)) == word)
      return static_cast<std::int32_t>(at.number - 1);
    slot = (slot + 1) & mask;
  }
  return -1;
}

void NGram::find_all(std::span<const std::string_view> words, std::span<std::int32_t> numbers) const {
  const std::size_t mask = word_slot_.size() - 1;
  std::vector<std::uint64_t> hashes(words.size());
  for (std::size_t k = 0; k < words.size(); ++k) {
    hashes[k] = hash_of_word(words[k]);
    __builtin_prefetch(&word_slot_[static_cast<std::size_t>(hashes[k]) & mask]);
  }
  for (std::size_t k = 0; k < words.size(); ++k) numbers[k] = find(words[k], hashes[k]);
}

// For each word the n-grams that begin with it, from the shortest on: those of one length do not wait for each other.
void NGram::prefetch(std::span<const std::int32_t> words) const {
  for (const std::int32_t word : words)
    if (word >= 0) __builtin_prefetch(&word_[static_cast<std::size_t>(word)]);
  std::vector<std::uint32_t> contexts(words.size(), 0);
  for (std::size_t k = 0; k < words.size(); ++k)
    if (words[k] >= 0) contexts[k] = word_[static_cast<std::size_t>(words[k])].next;
  for (std::size_t length = 2; length <= header_->order; ++length) {
    const std::size_t count = words.size() < length ? 0 : words.size() - length + 1;
    const auto next = [&](std::size_t k) { return static_cast<std::uint32_t>(words[k + length - 1]); };
    for (std::size_t k = 0; k < count; ++k)
      if (contexts[k] != 0 && words[k + length - 1] >= 0) {
        __builtin_prefetch(&entry_[static_cast<std::size_t>(slots_.place(contexts[k], next(k)).slot)]);
        __builtin_prefetch(&context_[contexts[k] % context_.size()]);
      }
    if (length == header_->order) break;
    for (std::size_t k = 0; k < count; ++k) {
      const NGramEntry* const entry =
          contexts[k] != 0 && words[k + length - 1] >= 0 ? slots_.find(entry_, contexts[k], next(k)) : nullptr;
      contexts[k] = entry == nullptr ? 0 : entry->next;
    }
  }
}

std::string_view NGram::word(std::int32_t number) const {
  const auto at = static_cast<std::size_t>(number);
  const std::uint32_t begin = word_[at].text, end = word_[at + 1].text;
  return begin <= end && end <= text_.size() ? text_.substr(begin, end - begin) : std::string_view{};
}

}  // namespace ctckit
