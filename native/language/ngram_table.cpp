#include "language/ngram_table.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <utility>

namespace ctckit {
namespace {

int bits_for(std::uint64_t count) { return std::max(1, static_cast<int>(std::bit_width(count - 1))); }

}  // namespace

NGramSlots::NGramSlots(std::uint64_t contexts, std::uint64_t words, std::uint64_t slots)
    : word_bits_(bits_for(words)), slots_(slots) {
  const int key_bits = word_bits_ + bits_for(contexts);
  half_bits_ = (key_bits + 1) / 2;
  mask_ = ~std::uint64_t{0} >> (64 - key_bits);
  home_bits_ = std::min(static_cast<int>(std::bit_width(slots)) - 1, key_bits);
  rest_bits_ = key_bits - home_bits_;
  rest_mask_ = (std::uint64_t{1} << rest_bits_) - 1;
}

std::uint64_t NGramSlots::least_slots(std::uint64_t contexts, std::uint64_t words, std::uint64_t entries) {
  const int home_bits = std::max(bits_for(words) + bits_for(contexts) - kRestBits, 0);
  return std::max({std::uint64_t{1} << home_bits, entries, std::uint64_t{1}});
}

void NGramSlots::add(std::span<NGramEntry> table, std::uint32_t context, std::uint32_t word, float log_probability,
                     std::uint32_t next) const {
  const Place at = place(context, word);
  NGramEntry added{at.rest, log_probability, next};
  std::size_t slot = static_cast<std::size_t>(at.slot);
  for (std::uint32_t distance = 0; distance <= kMostDistance; ++distance, ++slot) {
    NGramEntry& here = table[slot];
    added.tag = (added.tag & ((1u << kRestBits) - 1)) | distance << kRestBits;
    if (here.tag == kFree) {
      here = added;
      return;
    }
    if (const std::uint32_t its = here.tag >> kRestBits; its < distance) {  // it is nearer to where it belongs
      std::swap(here, added);
      distance = its;
    }
  }
  throw std::runtime_error("too many of its n-grams have the same hashes");
}

}  // namespace ctckit
