#include "language/ngram_builder.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace ctckit {
namespace {

constexpr float kUnlisted = std::numeric_limits<float>::quiet_NaN();  // of an n-gram that only begins others
constexpr std::uint64_t kMostReserved = 1 << 20;                      // n-grams of a length: their count may be wrong
constexpr double kLoad = 0.85;                                        // of the table of n-grams
constexpr std::size_t kAhead = 16;                                    // n-grams for which memory is read ahead
constexpr std::uint32_t kNone = ~std::uint32_t{0};

// Sorts keys, and the numbers beside them, byte by byte from the lowest; only the bytes that differ.
void radix_sort(std::vector<std::uint64_t>& keys, std::vector<std::uint32_t>& beside) {
  std::uint64_t differ = 0;
  for (const std::uint64_t key : keys) differ |= key ^ keys[0];
  std::vector<std::uint64_t> other_keys(keys.size());
  std::vector<std::uint32_t> other_beside(beside.size());
  for (int shift = 0; shift < 64; shift += 11) {
    if ((differ >> shift & 0x7ff) == 0) continue;
    std::size_t at[2048] = {};
    for (const std::uint64_t key : keys) ++at[key >> shift & 0x7ff];
    std::size_t sum = 0;
    for (std::size_t& count : at) sum += std::exchange(count, sum);
    for (std::size_t k = 0; k < keys.size(); ++k) {
      const std::size_t to = at[keys[k] >> shift & 0x7ff]++;
      other_keys[to] = keys[k];
      other_beside[to] = beside[k];
    }
    keys.swap(other_keys);
    beside.swap(other_beside);
  }
}

}  // namespace

NGramBuilder::NGramBuilder() : slots_(1024) {}

void NGramBuilder::begin_order(std::uint64_t expected) {
  Section& section = sections_.emplace_back();
  const auto count = static_cast<std::size_t>(std::min(expected, kMostReserved));
  section.words.reserve(sections_.size() > 1 ? count * sections_.size() : 0);
  section.log_probability.reserve(count);
  section.back_off.reserve(count);
  if (sections_.size() == 1) grow_slots(count);
}

std::uint64_t NGramBuilder::count() const { return sections_.back().listed; }

std::string_view NGramBuilder::word(std::uint32_t number) const {
  const std::size_t begin = text_begin_[number];
  return std::string_view(text_).substr(begin, text_begin_[number + std::size_t{1}] - begin);
}

void NGramBuilder::grow_slots(std::size_t count) {
  if (slots_.size() >= 2 * count) return;
  slots_.assign(std::bit_ceil(2 * count), 0);
  const std::size_t mask = slots_.size() - 1;
  for (std::uint32_t number = 0; number < words(); ++number) {
    std::size_t slot = static_cast<std::size_t>(hash_of_word(word(number))) & mask;
    while (slots_[slot] != 0) slot = (slot + 1) & mask;
    slots_[slot] = number + 1;
  }
}

std::int64_t NGramBuilder::find(std::string_view text) const {
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t slot = static_cast<std::size_t>(hash_of_word(text)) & mask; slots_[slot] != 0;
       slot = (slot + 1) & mask)
    if (word(slots_[slot] - 1) == text) return slots_[slot] - std::int64_t{1};
  return -1;
}

bool NGramBuilder::add_word(std::string_view text, double log_probability, double back_off) {
  if (find(text) >= 0) return false;
  const auto number = static_cast<std::uint32_t>(words());
  if (text_.size() + text.size() >= (std::size_t{1} << 31)) throw std::runtime_error("its words are too long together");
  text_ += text;
  text_begin_.push_back(static_cast<std::uint32_t>(text_.size()));
  Section& section = sections_[0];
  section.log_probability.push_back(static_cast<float>(log_probability));
  section.back_off.push_back(static_cast<float>(back_off));
  ++section.listed;
  if (slots_.size() < 2 * words()) {
    grow_slots(2 * static_cast<std::size_t>(words()));
    return true;
  }
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = static_cast<std::size_t>(hash_of_word(text)) & mask;
  while (slots_[slot] != 0) slot = (slot + 1) & mask;
  slots_[slot] = number + 1;
  return true;
}

void NGramBuilder::add(std::span<const std::uint32_t> words, double log_probability, double back_off) {
  Section& section = sections_.back();
  section.words.insert(section.words.end(), words.begin(), words.end());
  section.log_probability.push_back(static_cast<float>(log_probability));
  section.back_off.push_back(static_cast<float>(back_off));
  ++section.listed;
}

std::int64_t NGramBuilder::child(std::size_t level, std::uint32_t parent, std::uint32_t word) const {
  const Level& here = levels_[level];
  std::size_t low = here.first_child[parent], count = here.first_child[parent + std::size_t{1}] - low;
  const std::uint32_t* const words = levels_[level + 1].word.data();
  if (count == 0) return -1;
  while (count > 1) {
    const std::size_t half = count / 2;
    low += words[low + half] <= word ? half : 0;
    count -= half;
  }
  return words[low] == word ? static_cast<std::int64_t>(low) : -1;
}

std::string NGramBuilder::text_of(std::size_t level, std::size_t source) const {
  std::string text;
  for (std::size_t k = 0; k <= level; ++k)
    text.append(k == 0 ? "" : " ").append(word(sections_[level].words[source * (level + 1) + k]));
  return text;
}

// Returns false if beginnings were missing. They have been added to the section before, which must be made again.
bool NGramBuilder::make_level(std::size_t level) {
  const Section& section = sections_[level];
  const std::size_t count = size(level), length = level + 1;
  std::vector<std::uint64_t> keys(count);
  std::int64_t parent = -1;
  bool is_complete = true;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t* const words = &section.words[i * length];
    if (i == 0 || !std::equal(words, words + level, words - length)) {
      parent = words[0];
      for (std::size_t k = 1; k < level && parent >= 0; ++k)
        parent = child(k - 1, static_cast<std::uint32_t>(parent), words[k]);
      if (parent < 0) {
        is_complete = false;
        Section& before = sections_[level - 1];
        before.words.insert(before.words.end(), words, words + level);
        before.log_probability.push_back(kUnlisted);
        before.back_off.push_back(0);
      }
    }
    if (is_complete) keys[i] = static_cast<std::uint64_t>(parent) << 32 | words[level];
  }
  if (is_complete) sort_level(level, keys);
  return is_complete;
}

void NGramBuilder::sort_level(std::size_t level, std::vector<std::uint64_t>& keys) {
  Level& here = levels_[level];
  const std::size_t count = keys.size();
  here.source.resize(count);
  std::iota(here.source.begin(), here.source.end(), 0u);
  if (!std::is_sorted(keys.begin(), keys.end())) radix_sort(keys, here.source);
  here.parent.clear();
  here.word.clear();
  std::vector<std::uint32_t>& source = here.source;
  std::size_t kept = 0;
  const std::uint64_t listed = sections_[level].listed;
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0 && keys[i] == keys[i - 1]) {
      if (source[i] < listed) throw std::runtime_error("it lists \"" + text_of(level, source[i]) + "\" twice");
      continue;  // the beginning of several others
    }
    source[kept++] = source[i];
    here.parent.push_back(static_cast<std::uint32_t>(keys[i] >> 32));
    here.word.push_back(static_cast<std::uint32_t>(keys[i]));
  }
  source.resize(kept);
  std::vector<std::uint32_t>& first = levels_[level - 1].first_child;
  first.assign(levels_[level - 1].source.size() + 1, 0);
  for (const std::uint32_t parent : here.parent) ++first[parent + std::size_t{1}];
  std::partial_sum(first.begin(), first.end(), first.begin());
}

std::vector<std::byte> NGramBuilder::build() {
  if (sections_.empty() || words() == 0) throw std::runtime_error("it has no words");
  levels_.assign(sections_.size(), {});
  Level& ground = levels_[0];
  ground.source.resize(static_cast<std::size_t>(words()));
  std::iota(ground.source.begin(), ground.source.end(), 0u);
  ground.word = ground.source;
  for (std::size_t level = 1; level < levels_.size();) level = make_level(level) ? level + 1 : level - 1;
  levels_.back().first_child.assign(levels_.back().source.size() + 1, 0);

  // Contexts are the n-grams that others begin with, or whose back-off weight counts.
  std::vector<std::vector<std::uint32_t>> context_of(levels_.size());
  NGramHeader header{};
  header.contexts = 1;
  for (std::size_t level = 0; level < levels_.size(); ++level) {
    const Level& here = levels_[level];
    const std::size_t count = here.source.size();
    header.entries += count;
    header.counts[level] = sections_[level].listed;
    context_of[level].assign(count, kNone);
    if (level + 1 == levels_.size()) break;
    for (std::size_t e = 0; e < count; ++e)
      if (here.first_child[e] < here.first_child[e + 1] || sections_[level].back_off[here.source[e]] != 0)
        context_of[level][e] = static_cast<std::uint32_t>(header.contexts++);
  }
  const std::uint64_t longer = header.entries - words();
  header.slots = std::max(NGramSlots::least_slots(header.contexts, words(), longer),
                          static_cast<std::uint64_t>(static_cast<double>(longer) / kLoad));
  if (header.entries >= (std::uint64_t{1} << 31)) throw std::runtime_error("it has more than 2^31 n-grams");
  header.magic = NGramHeader::kMagic;
  header.version = NGramHeader::kVersion;
  header.order = static_cast<std::uint32_t>(levels_.size());
  header.words = words();
  header.text_bytes = text_.size();
  header.word_slots = slots_.size();
  const auto number_of = [&](std::initializer_list<const char*> names) {
    for (const char* const name : names)
      if (const std::int64_t number = find(name); number >= 0) return static_cast<std::int32_t>(number);
    return std::int32_t{-1};
  };
  header.unknown = number_of({"<unk>", "<UNK>"});
  header.begin = number_of({"<s>"});
  header.end = number_of({"</s>"});

  const NGram::Layout layout(header);
  std::vector<std::byte> image(layout.size);
  std::memcpy(image.data(), &header, sizeof header);
  const auto at = [&]<class T>(std::size_t place, T) { return reinterpret_cast<T*>(image.data() + place); };
  NGram::Word* const word = at(layout.word, NGram::Word{});
  NGram::Context* const context = at(layout.context, NGram::Context{});
  NGram::WordSlot* const word_slot = at(layout.word_slot, NGram::WordSlot{});
  for (std::size_t k = 0; k <= words(); ++k) word[k].text = text_begin_[k];
  for (std::size_t k = 0; k < slots_.size(); ++k)
    if (slots_[k] != 0)
      word_slot[k] = {static_cast<std::uint32_t>(hash_of_word(this->word(slots_[k] - 1)) >> 32), slots_[k]};
  std::memcpy(image.data() + layout.text, text_.data(), text_.size());
  const NGramSlots slots(header.contexts, header.words, header.slots);
  const std::span entries(at(layout.entry, NGramEntry{}), static_cast<std::size_t>(slots.room()));
  std::fill(entries.begin(), entries.end(), NGramEntry{NGramSlots::kFree, 0, 0});

  // An n-gram goes on where the same word leads after the next shorter context, unless it is a context itself.
  const NGram made(image);
  for (std::size_t level = 0; level < levels_.size(); ++level) {
    const Level& here = levels_[level];
    for (std::size_t e = 0; e < here.source.size(); ++e) {
      if (level > 0 && e + kAhead < here.source.size()) {  // places in the table are all over the memory
        const std::uint32_t parent = context_of[level - 1][here.parent[e + kAhead]], last = here.word[e + kAhead];
        __builtin_prefetch(&entries[static_cast<std::size_t>(slots.place(parent, last).slot)], 1);
        if (level > 1)
          __builtin_prefetch(&entries[static_cast<std::size_t>(slots.place(context[parent].shorter, last).slot)]);
      }
      const std::uint32_t source = here.source[e], last = here.word[e], own = context_of[level][e];
      const float listed = sections_[level].log_probability[source];
      std::uint32_t shorter = NGram::kEmpty;
      if (level == 0) {
        word[last] = {listed, own == kNone ? 0 : own, listed, word[last].text};
      } else {
        const std::uint32_t parent = context_of[level - 1][here.parent[e]];
        const NGram::Step from_shorter =
            made.step(static_cast<std::int32_t>(context[parent].shorter), static_cast<std::int32_t>(last));
        shorter = static_cast<std::uint32_t>(from_shorter.next);
        const double backed_off = static_cast<double>(context[parent].back_off) + from_shorter.log_probability;
        const float log_probability = std::isnan(listed) ? static_cast<float>(backed_off) : listed;
        slots.add(entries, parent, last, log_probability, own == kNone ? shorter : own);
        word[last].most = std::max(word[last].most, log_probability);
      }
      if (own != kNone) context[own] = {sections_[level].back_off[source], shorter};
    }
  }
  return image;
}

}  // namespace ctckit
