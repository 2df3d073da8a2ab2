#include "language/kenlm.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>

namespace ctckit {
namespace {

constexpr double kLog10 = 2.302585092994045684;
constexpr std::uint64_t kMostEntries = std::uint64_t{1} << 40;

template <class T>
T load(const std::byte* at) {  // (entries are not aligned)
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

// A. Appleby's MurmurHash64A, by which words are found.
std::uint64_t murmur_hash(std::string_view text) {
  constexpr std::uint64_t m = 0xc6a4a7935bd1e995;
  constexpr int r = 47;
  const auto mixed = [](std::uint64_t k) {
    k *= m;
    k ^= k >> r;
    return k * m;
  };
  std::uint64_t hash = text.size() * m;
  std::size_t at = 0;
  for (; at + 8 <= text.size(); at += 8)
    hash = (hash ^ mixed(load<std::uint64_t>(reinterpret_cast<const std::byte*>(text.data()) + at))) * m;
  if (at < text.size()) {
    std::uint64_t rest = 0;
    for (std::size_t k = 0; at + k < text.size(); ++k)
      rest |= std::uint64_t{static_cast<unsigned char>(text[at + k])} << (8 * k);
    hash = (hash ^ rest) * m;
  }
  hash ^= hash >> r;
  hash *= m;
  return hash ^ hash >> r;
}

// The hash of an n-gram from that of its last words, and the word before them.
std::uint64_t extended_hash(std::uint64_t hash, std::uint32_t before) {
  return hash * 8978948897894561157u ^ (std::uint64_t{before} + 1) * 17894857484156487943u;
}

// Of a context that no n-gram begins with.
bool is_no_context(float back_off) { return std::bit_cast<std::uint32_t>(back_off) == 0x80000000u; }

}  // namespace

const std::byte* KenlmModel::Table::find(std::uint64_t hash) const {
  std::uint64_t at = hash % places;
  for (std::uint64_t tries = 0; tries < places; ++tries) {
    const std::byte* const entry = entries + at * stride;
    const auto found = load<std::uint64_t>(entry);
    if (found == hash) return entry + sizeof(std::uint64_t);
    if (found == 0) return nullptr;
    if (++at == places) at = 0;
  }
  return nullptr;
}

// Takes one array after the other from the file.
class KenlmModel::Reader {
 public:
  explicit Reader(std::span<const std::byte> file) : file_(file) {}

  const std::byte* take(std::uint64_t bytes) {
    if (bytes > file_.size() - at_)
      throw std::runtime_error("it ends at byte " + std::to_string(file_.size()) + ", in the middle of the model");
    const std::byte* const begin = file_.data() + at_;
    at_ += static_cast<std::size_t>(bytes);
    return begin;
  }
  template <class T>
  T number() {
    return load<T>(take(sizeof(T)));
  }
  Table table(std::uint64_t entries, float multiplier, std::size_t stride) {
    Table table;
    table.stride = stride;
    table.places = std::max(entries + 1, static_cast<std::uint64_t>(multiplier * static_cast<float>(entries)));
    table.entries = take(table.places * stride);
    return table;
  }
  void align() { at_ = std::min((at_ + 7) / 8 * 8, file_.size()); }
  std::string_view rest() const { return {reinterpret_cast<const char*>(file_.data()) + at_, file_.size() - at_}; }

 private:
  std::span<const std::byte> file_;
  std::size_t at_ = 0;
};

KenlmModel::KenlmModel(std::span<const std::byte> file) {
  // (The sizes are those of KenLM's structures on a 64-bit machine.)
  Reader reader(file);
  const std::string_view magic(reinterpret_cast<const char*>(reader.take(56)), 56);
  if (!magic.starts_with(kMagic) || magic.substr(kMagic.size(), 4) != std::string_view(" 5\n\0", 4))
    throw std::runtime_error("it is of another version of KenLM's format than 5: make it again with build_binary");
  const bool is_this_machine_s = reader.number<float>() == 0 && reader.number<float>() == 1 &&
                                 reader.number<float>() == -0.5f && reader.number<std::uint32_t>() == 1 &&
                                 reader.number<std::uint32_t>() == 0xffffffffu && reader.number<std::uint32_t>() == 0 &&
                                 reader.number<std::uint64_t>() == 1;
  if (!is_this_machine_s) throw std::runtime_error("it was made on another kind of machine");
  const auto order = reader.number<std::uint8_t>();
  reader.take(3);
  const auto multiplier = reader.number<float>();
  const auto type = reader.number<std::uint32_t>();
  const bool has_words = reader.number<std::uint8_t>() != 0;
  reader.take(3);
  const auto search_version = reader.number<std::uint32_t>();
  if (type != 0)
    throw std::runtime_error(
        "it is a trie of KenLM, or has rest costs, and only its probing format is read: pass the ARPA file that it was "
        "made from, or make it with `build_binary probing`");
  if (order < 2 || order > kMostOrders || !(multiplier >= 1 && multiplier < 1000) || search_version != 0)
    throw std::runtime_error("its header is damaged");
  if (!has_words) throw std::runtime_error("it does not hold its words: make it with build_binary, without -i");
  for (int n = 0; n < order; ++n) {
    facts_.counts.push_back(reader.number<std::uint64_t>());
    if (facts_.counts.back() > kMostEntries) throw std::runtime_error("its header is damaged");
  }
  reader.align();
  const auto version = reader.number<std::uint32_t>();
  const auto words = reader.number<std::uint32_t>();
  if (version != 0 || words > facts_.counts[0] + 1) throw std::runtime_error("its header is damaged");
  vocabulary_ = reader.table(facts_.counts[0], multiplier, 12);
  one_grams_ = reader.take((facts_.counts[0] + 1) * sizeof(Weights));
  for (std::size_t n = 1; n < order; ++n)
    orders_.push_back(reader.table(facts_.counts[n], multiplier, n + 1 < order ? 16 : 12));
  std::string_view text = reader.rest();
  for (std::uint32_t number = 0; number < words; ++number) {
    const std::size_t end = text.find('\0');
    if (end == text.npos || (number == 0 && text.substr(0, end) != "<unk>"))
      throw std::runtime_error("its words are damaged or cut off");
    words_.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  facts_.words = words;
  facts_.unknown = words > 0 ? 0 : -1;
  facts_.begin = find("<s>");
  facts_.end = find("</s>");
  states_.emplace_back();  // without words
}

std::int32_t KenlmModel::find(std::string_view word) const {
  if (word == "<unk>" || word == "<UNK>") return facts_.unknown;
  const std::byte* const found = vocabulary_.find(murmur_hash(word));
  if (found == nullptr) return -1;
  const auto number = load<std::uint32_t>(found);
  return number < words_.size() && words_[number] == word ? static_cast<std::int32_t>(number) : -1;
}

std::string_view KenlmModel::word(std::int32_t number) const { return words_[static_cast<std::size_t>(number)]; }

// Which n-grams end in a word cannot be told. Listed probabilities are at most 1, but back-off weights may be positive:
// at most one of each order counts. (All entries are read.)
void KenlmModel::largest(std::span<double> bounds) const {
  float most = 0;
  for (std::int64_t word = 0; word < facts_.words; ++word)
    most = std::max(most, load<Weights>(one_grams_ + static_cast<std::size_t>(word) * sizeof(Weights)).back_off);
  double sum = static_cast<double>(most);
  for (std::size_t n = 0; n + 1 < orders_.size(); ++n) {
    most = 0;
    for (std::uint64_t place = 0; place < orders_[n].places; ++place) {
      const std::byte* const entry = orders_[n].entries + place * orders_[n].stride;
      if (load<std::uint64_t>(entry) != 0) most = std::max(most, load<float>(entry + 12));
    }
    sum += static_cast<double>(most);
  }
  std::fill(bounds.begin(), bounds.end(), sum * kLog10);
}

bool KenlmModel::has_state(std::int64_t state) const {
  const std::shared_lock lock(mutex_);
  return state >= 0 && state < static_cast<std::int64_t>(states_.size());
}

KenlmModel::State KenlmModel::state_at(std::int32_t number) const {
  const std::shared_lock lock(mutex_);
  const auto at = static_cast<std::size_t>(number);
  return at < states_.size() ? states_[at] : State{};
}

std::int32_t KenlmModel::number_of(const State& state) const {
  if (state.size == 0) return kEmpty;
  std::uint64_t hash = 0;
  for (int k = 0; k < state.size; ++k) hash = extended_hash(hash, state.words[static_cast<std::size_t>(k)]);
  const auto known = [&]() -> std::int32_t {
    const auto [begin, end] = numbers_.equal_range(hash);
    for (auto at = begin; at != end; ++at) {
      const State& other = states_[static_cast<std::size_t>(at->second)];
      if (other.size == state.size && other.words == state.words) return at->second;
    }
    return -1;
  };
  {
    const std::shared_lock lock(mutex_);
    if (const std::int32_t number = known(); number >= 0) return number;
  }
  const std::unique_lock lock(mutex_);
  if (const std::int32_t number = known(); number >= 0) return number;
  const auto number = static_cast<std::int32_t>(states_.size());
  states_.push_back(state);
  numbers_.emplace(hash, number);
  return number;
}

LanguageModel::Step KenlmModel::step(std::int32_t number, std::int32_t word) const {
  if (word < 0 || word >= facts_.words) return {0, kEmpty};
  const State from = state_at(number);
  State to;
  const auto last = static_cast<std::uint32_t>(word);
  auto weights = load<Weights>(one_grams_ + last * sizeof(Weights));
  float probability = -std::fabs(weights.probability);  // (the sign says whether longer n-grams end like this one)
  std::uint64_t hash = last;
  const auto most = static_cast<int>(orders_.size());
  int found = 0, kept = is_no_context(weights.back_off) ? 0 : 1;
  to.words[0] = last;
  to.back_off[0] = weights.back_off;
  for (; found < std::min(from.size, most) && word != facts_.unknown; ++found) {
    const auto place = static_cast<std::size_t>(found);
    hash = extended_hash(hash, from.words[place]);
    const std::byte* const entry = orders_[place].find(hash);
    if (entry == nullptr) break;
    probability = -std::fabs(load<float>(entry));
    if (found + 1 == most) {  // the longest n-grams are no contexts
      ++found;
      break;
    }
    weights.back_off = load<float>(entry + sizeof(float));
    to.words[place + 1] = from.words[place];
    to.back_off[place + 1] = weights.back_off;
    if (!is_no_context(weights.back_off)) kept = found + 2;
  }
  double sum = static_cast<double>(probability);
  for (int k = found; k < from.size; ++k) sum += static_cast<double>(from.back_off[static_cast<std::size_t>(k)]);
  to.size = std::min(kept, most);
  for (int k = to.size; k < kMostOrders; ++k) to.words[static_cast<std::size_t>(k)] = 0;
  return {sum * kLog10, number_of(to)};
}

}  // namespace ctckit
