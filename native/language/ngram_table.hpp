// A hash table of n-grams: from a context and a word to its log-probability and the next context.
//
// A key is the numbers of the context and the word, mixed by a function that has an inverse. Its upper bits tell the
// slot where an entry belongs; an entry stores the lower ones, and how far it is from there, in 32 bits. So nothing is
// lost: an entry is found if and only if it is there. Entries are in the order of the slots where they belong (Robin
// Hood hashing), so that a search for what is not there ends soon. Most searches touch one cache line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ctckit {

struct NGramEntry {
  std::uint32_t tag;  // the rest of the key, and above it the distance; or kFree
  float log_probability;
  std::uint32_t next;
};

// Where keys belong in a table.
class NGramSlots {
 public:
  static constexpr int kRestBits = 22;
  static constexpr std::uint32_t kMostDistance = (1u << (32 - kRestBits)) - 2;
  static constexpr std::uint32_t kFree = ~std::uint32_t{0};

  // For so many contexts and words. `slots` are those where keys belong: at least `least_slots`.
  NGramSlots(std::uint64_t contexts, std::uint64_t words, std::uint64_t slots);
  static std::uint64_t least_slots(std::uint64_t contexts, std::uint64_t words, std::uint64_t entries);
  // How many entries the array has: some are behind the last slot.
  std::uint64_t room() const { return slots_ + kMostDistance + 1; }

  struct Place {
    std::uint64_t slot;
    std::uint32_t rest;
  };
  Place place(std::uint32_t context, std::uint32_t word) const {
    std::uint64_t key = static_cast<std::uint64_t>(context) << word_bits_ | word;
    key ^= key >> half_bits_;
    key = key * 0x9E3779B97F4A7C15ull & mask_;
    key ^= key >> half_bits_;
    key = key * 0xD6E8FEB86659FD93ull & mask_;
    key ^= key >> half_bits_;
    return {(key >> rest_bits_) * slots_ >> home_bits_, static_cast<std::uint32_t>(key & rest_mask_)};
  }

  // The entry of a key; null if there is none.
  const NGramEntry* find(std::span<const NGramEntry> table, std::uint32_t context, std::uint32_t word) const {
    const Place at = place(context, word);
    const NGramEntry* entry = table.data() + at.slot;
    for (std::uint32_t distance = 0; distance <= kMostDistance; ++distance, ++entry) {
      const std::uint32_t tag = distance << kRestBits | at.rest;
      if (entry->tag == tag) return entry;
      if (entry->tag == kFree || entry->tag >> kRestBits < distance) return nullptr;
    }
    return nullptr;
  }
  // Adds an entry that is not there. Throws std::runtime_error if too many belong to the same slots.
  void add(std::span<NGramEntry> table, std::uint32_t context, std::uint32_t word, float log_probability,
           std::uint32_t next) const;

 private:
  int word_bits_, half_bits_, rest_bits_, home_bits_;
  std::uint64_t mask_, rest_mask_, slots_;
};

}  // namespace ctckit
