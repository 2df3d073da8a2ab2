// For libFuzzer (`make fuzz`): any bytes as a language model's file, an ARPA text or a binary. It is refused, or is a
// model that can be asked anything. Nothing may be touched beyond the file (AddressSanitizer watches: it lies in memory
// of exactly its size). A text that is read gives a model that keeps what it promises; then its image is damaged.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "core.hpp"
#include "decoding/decode.hpp"
#include "decoding/token_scorer.hpp"
#include "decoding/word_scorer.hpp"
#include "language/arpa.hpp"
#include "language/kenlm.hpp"
#include "language/ngram.hpp"
#include "require.hpp"

using namespace ctckit;

namespace {

constexpr int kSteps = 200;
constexpr std::int64_t kMostWords = 300;  // that are looked at

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  // Below `count`, which is not 0.
  std::uint64_t below(std::uint64_t count) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (state_ >> 33) % count;
  }

 private:
  std::uint64_t state_;
};

// A copy of exactly so many bytes, aligned as a mapped file.
class Copy {
 public:
  explicit Copy(std::span<const std::byte> from) : size_(from.size()), bytes_(new std::byte[from.size()]) {
    if (size_ > 0) std::memcpy(bytes_.get(), from.data(), size_);
  }
  std::span<const std::byte> span() const { return {bytes_.get(), size_}; }
  std::byte& operator[](std::size_t at) { return bytes_[at]; }

 private:
  std::size_t size_;
  std::unique_ptr<std::byte[]> bytes_;
};

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<double> bounds_of(const LanguageModel& model) {
  std::vector<double> bounds(static_cast<std::size_t>(std::min<std::int64_t>(model.facts().words, 1 << 20)));
  model.largest(bounds);
  return bounds;
}

// A search with its words as classes, and as words of two classes. Numbers that are none end it with an error.
void search(const LanguageModel& model, Random& random) {
  constexpr std::int64_t kFrames = 6, kClasses = 5;
  std::vector<float> emissions(kFrames * kClasses);
  for (float& x : emissions) x = random.below(9) == 0 ? -INFINITY : -static_cast<float>(random.below(50)) / 8;
  Batch batch{};
  batch.dtype = DType::float32;
  batch.emissions = emissions.data();
  batch.strides = {kClasses, kFrames * kClasses, 1};
  batch.frames = kFrames;
  batch.items = 1;
  batch.classes = kClasses;
  batch.input_lengths = &kFrames;
  const auto words = static_cast<std::uint64_t>(model.facts().words);
  std::vector<std::int32_t> numbers;
  for (int k = 0; k < 4; ++k) numbers.push_back(static_cast<std::int32_t>(random.below(words + 1)) - 1);
  const std::shared_ptr<const LanguageModel> kept(std::shared_ptr<void>(), &model);
  const std::int32_t classes[] = {1, 2, 2, 3, 2, 2}, lengths[] = {1, 2, 1, 2};
  WordScorer by_words(std::make_shared<WordTrie>(classes, lengths), kept, numbers, WordClasses({0, 0, 0, 0, 1}),
                      {0.5, 1, -10, true, true, -10});
  TokenScorer by_tokens(kept, numbers, 0.5, 0, -10);
  const Kernels& kernels = *available_kernels()[random.below(available_kernels().size())];
  const DecodingOptions options{{kClasses, 0, static_cast<std::int32_t>(1 + random.below(9))}, 3, true};
  for (Scorer* const scorer : {static_cast<Scorer*>(&by_words), static_cast<Scorer*>(&by_tokens)}) {
    try {
      decode(batch, options, {scorer}, 1, kernels, decoding_kernels_named(kernels.name));
    } catch (const std::invalid_argument& error) {
      require(*error.what() != '\0', "an error says something");
    }
  }
}

// A number that is of no state, or of no word.
void ask_for_none(const LanguageModel& model, std::int32_t wrong) {
  require(!model.has_state(wrong), "no state");
  require(model.has_state(model.step(wrong, 0).next), "a step leads to a state");
  require(model.has_state(model.step(LanguageModel::kEmpty, wrong).next), "a step leads to a state");
}

// Whatever file it is from.
void ask(const LanguageModel& model, Random& random) {
  const LanguageModel::Facts& facts = model.facts();
  for (const std::int32_t word : {facts.unknown, facts.begin, facts.end})
    require(word >= -1 && word < facts.words, "a word that there is");
  for (std::int64_t word = 0; word < std::min(facts.words, kMostWords); ++word) {
    const std::string text(model.word(static_cast<std::int32_t>(word)));
    const std::int32_t found = model.find(text);
    require(found >= -1 && found < facts.words, "a number of a word, or none");
  }
  for (const std::string_view text : {"", "a", "<s>", "</s>", "never seen", "\xff"})
    require(model.find(text) < facts.words, "a number of a word, or none");
  bounds_of(model);
  if (facts.words == 0) return;
  std::int32_t state = LanguageModel::kEmpty;
  for (int k = 0; k < kSteps; ++k) {
    const auto word = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(facts.words)));
    state = model.step(state, word).next;
    require(model.has_state(state), "a step leads to a state");
  }
  for (const std::int32_t wrong :
       {-1, std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()})
    ask_for_none(model, wrong);
  search(model, random);
}

// A model from a text that was read.
void check(const NGram& model, Random& random) {
  const std::vector<double> bounds = bounds_of(model);
  for (std::int64_t number = 0; number < std::min(model.facts().words, kMostWords); ++number) {
    const auto word = static_cast<std::int32_t>(number);
    require(!model.word(word).empty() && model.find(model.word(word)) == word, "a word is found by its text");
  }
  std::int64_t state = LanguageModel::kEmpty;
  const auto states = static_cast<std::uint64_t>(model.header().contexts);
  for (int k = 0; k < kSteps; ++k) {
    if (random.below(4) == 0) state = static_cast<std::int64_t>(random.below(states));
    require(model.has_state(state), "a number below that of the contexts is a state");
    const auto word = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(model.facts().words)));
    const LanguageModel::Step step = model.step(static_cast<std::int32_t>(state), word);
    const double bound = bounds[static_cast<std::size_t>(word)];
    require(std::isfinite(step.log_probability) || step.log_probability == -std::numeric_limits<double>::infinity(),
            "a probability");
    const double rounding = std::isinf(bound) ? 0 : 1e-6 * (1 + std::fabs(bound));
    require(step.log_probability <= bound + rounding, "a bound");
    require(model.has_state(step.next), "a step leads to a state");
    state = step.next;
  }
  ask_for_none(model, static_cast<std::int32_t>(states));
}

struct ReadText {
  std::vector<std::byte> image;
  std::string error;  // empty if there is none
  bool operator==(const ReadText&) const = default;
};

ReadText read(std::string_view text, Random& random, std::uint64_t most_piece) {
  ArpaReader reader;
  try {
    while (!text.empty()) {
      const Copy piece(std::as_bytes(std::span(text.substr(0, 1 + random.below(most_piece)))));
      reader.feed(text_of(piece.span()));
      text.remove_prefix(piece.span().size());
    }
    return {reader.finish(), {}};
  } catch (const ArpaError& error) {
    require(*error.what() != '\0', "an error says something");
    return {{}, error.what()};
  }
}

void open(std::span<const std::byte> file, Random& random) {
  try {
    if (text_of(file).starts_with(KenlmModel::kMagic)) {
      ask(KenlmModel(file), random);
    } else {
      ask(NGram(file), random);
    }
  } catch (const std::runtime_error& error) {
    require(*error.what() != '\0', "an error says something");
  }
}

void open_damaged(std::span<const std::byte> image, Random& random) {
  const bool is_cut = random.below(4) == 0;
  Copy copy(image.first(is_cut ? random.below(image.size() + 1) : image.size()));
  const std::uint64_t size = copy.span().size(), flips = random.below(6);
  for (std::uint64_t k = 0; k < flips && size > 0; ++k) {
    const std::uint64_t at = random.below(random.below(2) == 0 ? std::min<std::uint64_t>(size, 512) : size);
    copy[at] = std::byte(random.below(2) == 0 ? random.below(256) : random.below(3) - 1);
  }
  open(copy.span(), random);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  Random random(hash_of_word(text_of(bytes)));
  const Copy file(bytes);
  if (text_of(bytes).starts_with(KenlmModel::kMagic) || text_of(bytes).starts_with("ctclm\n")) {
    open(file.span(), random);
    for (int k = 0; k < 4; ++k) open_damaged(file.span(), random);
    return 0;
  }
  const ReadText whole = read(text_of(bytes), random, std::uint64_t{1} << 30);
  require(whole == read(text_of(bytes), random, 9), "a text is read the same in pieces");
  if (!whole.error.empty()) return 0;
  const Copy copy(whole.image);
  check(NGram(copy.span()), random);
  for (int k = 0; k < 4; ++k) open_damaged(copy.span(), random);
  return 0;
}
