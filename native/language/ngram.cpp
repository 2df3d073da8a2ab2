#include "language/ngram.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

namespace ctckit {
namespace {

constexpr std::size_t kLine = 64;  // bytes: arrays begin at cache lines
constexpr std::uint64_t kMost = std::uint64_t{1} << 31;

std::size_t aligned(std::size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

}  // namespace

std::uint64_t hash_of_word(std::string_view word) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : word) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;  // FNV-1a
  return hash ^ hash >> 32;
}

NGram::Layout::Layout(const NGramHeader& header) {
  std::size_t at = aligned(sizeof(NGramHeader));
  const auto take = [&](std::uint64_t count, std::size_t bytes) {
    const std::size_t begin = at;
    at = aligned(at + static_cast<std::size_t>(count) * bytes);
    return begin;
  };
  first = take(header.contexts + 1, sizeof(std::uint32_t));
  back_off = take(header.contexts, sizeof(float));
  shorter = take(header.contexts, sizeof(std::uint32_t));
  word = take(header.entries, sizeof(std::uint32_t));
  value = take(header.entries, sizeof(Value));
  text_begin = take(header.words + 1, sizeof(std::uint32_t));
  slots = take(header.slots, sizeof(std::uint32_t));
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
                           h.contexts < kMost && h.entries < kMost && h.words <= h.entries && h.text_bytes < kMost &&
                           h.slots > h.words && h.slots < 2 * kMost && (h.slots & (h.slots - 1)) == 0;
  if (!is_possible) throw std::runtime_error("its header is damaged");
  for (const std::int32_t word : {h.unknown, h.begin, h.end})
    if (word < -1 || word >= static_cast<std::int64_t>(h.words)) throw std::runtime_error("its header is damaged");
  const Layout layout(h);
  if (layout.size != image.size())
    throw std::runtime_error("it has " + std::to_string(image.size()) + " bytes, but should have " +
                             std::to_string(layout.size));
  facts_ = {static_cast<std::int64_t>(h.words), h.unknown, h.begin, h.end, {h.counts, h.counts + h.order}};
  first_ = array<std::uint32_t>(layout.first, h.contexts + 1);
  back_off_ = array<float>(layout.back_off, h.contexts);
  shorter_ = array<std::uint32_t>(layout.shorter, h.contexts);
  word_ = array<std::uint32_t>(layout.word, h.entries);
  value_ = array<Value>(layout.value, h.entries);
  text_begin_ = array<std::uint32_t>(layout.text_begin, h.words + 1);
  slots_ = array<std::uint32_t>(layout.slots, h.slots);
  text_ = {reinterpret_cast<const char*>(image.data() + layout.text), static_cast<std::size_t>(h.text_bytes)};
}

std::int64_t NGram::entry(std::uint32_t context, std::uint32_t word) const {
  if (context == 0) return word < header_->words ? static_cast<std::int64_t>(word) : -1;
  std::size_t low = first_[context], count = std::min<std::size_t>(first_[context + 1], word_.size());
  if (count <= low) return -1;
  count -= low;
  const std::uint32_t* const words = word_.data();
  while (count > 1) {  // without branches: the next half is loaded either way
    const std::size_t half = count / 2;
    low += words[low + half] <= word ? half : 0;
    count -= half;
  }
  return words[low] == word ? static_cast<std::int64_t>(low) : -1;
}

LanguageModel::Step NGram::step(std::int32_t state, std::int32_t word) const {
  auto context = static_cast<std::uint32_t>(state);
  const auto wanted = static_cast<std::uint32_t>(word);
  double sum = 0;
  while (context < header_->contexts) {
    const std::int64_t found = entry(context, wanted);
    if (found >= 0) {
      const Value& value = value_[static_cast<std::size_t>(found)];
      return {sum + static_cast<double>(value.log_probability),
              static_cast<std::int32_t>(value.next < header_->contexts ? value.next : 0)};
    }
    if (context == 0) break;
    sum += static_cast<double>(back_off_[context]);
    const std::uint32_t shorter = shorter_[context];
    context = shorter < context ? shorter : 0;
  }
  return {sum, kEmpty};
}

// A word's listed probability counts with the weights of the longer contexts, which may be positive.
void NGram::largest(std::span<double> bounds) const {
  double weights = 0;  // of all longer contexts together, at most
  for (const float weight : back_off_) weights = std::max(weights, static_cast<double>(weight));
  weights *= header_->order - 1;
  for (double& bound : bounds) bound = -std::numeric_limits<double>::infinity();
  for (std::size_t e = 0; e < word_.size(); ++e)
    if (word_[e] < bounds.size())
      bounds[word_[e]] = std::max(bounds[word_[e]], static_cast<double>(value_[e].log_probability) + weights);
}

std::int32_t NGram::find(std::string_view word) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = static_cast<std::size_t>(hash_of_word(word)) & mask;
  for (std::size_t tries = 0; tries < slots_.size() && slots_[slot] != 0; ++tries, slot = (slot + 1) & mask) {
    const std::uint32_t number = slots_[slot] - 1;
    if (number < header_->words && this->word(static_cast<std::int32_t>(number)) == word)
      return static_cast<std::int32_t>(number);
  }
  return -1;
}

std::string_view NGram::word(std::int32_t number) const {
  const auto at = static_cast<std::size_t>(number);
  const std::uint32_t begin = text_begin_[at], end = text_begin_[at + 1];
  return begin <= end && end <= text_.size() ? text_.substr(begin, end - begin) : std::string_view{};
}

}  // namespace ctckit
