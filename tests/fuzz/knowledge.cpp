// For libFuzzer (`make fuzz`): searches with language models, lexicons and hotwords. What a scorer gives step by step
// adds up to what the words and phrases of the whole labelling gain by definition; no step gains more than its bounds
// say; a search that is wide enough loses no labelling, and scores each with the probability of all its paths.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "core.hpp"
#include "decoding/decode.hpp"
#include "decoding/phrase_scorer.hpp"
#include "decoding/token_scorer.hpp"
#include "decoding/word_scorer.hpp"
#include "random_model.hpp"
#include "require.hpp"

using namespace ctckit;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNear = 1e-6;

using Row = std::vector<std::int32_t>;

bool near(double a, double b) { return a == b || std::fabs(a - b) <= kNear * (1 + std::fabs(b)); }

class Problem {
 public:
  explicit Problem(FuzzedDataProvider& bytes) : bytes_(bytes) {
    // (Classes beyond 64 share the bits of summaries with others.)
    classes_ = bytes.ConsumeIntegralInRange(0, 9) == 0 ? 70 : bytes.ConsumeIntegralInRange(2, 5);
    blank_ = bytes.ConsumeIntegralInRange(0, classes_ - 1);
    std::vector<std::uint8_t> roles(static_cast<std::size_t>(classes_));
    const int layout = bytes.ConsumeIntegralInRange(0, 4);
    for (std::uint8_t& role : roles) {
      const int drawn = bytes.ConsumeIntegralInRange(0, 7);
      const bool few = drawn < 3;
      if (layout == 1) role = drawn < 2 ? WordClasses::kSeparates : 0;
      if (layout == 2) role = few ? WordClasses::kStarts : drawn == 3 ? WordClasses::kSeparates : 0;
      if (layout == 3) role = few ? WordClasses::kEnds : drawn == 3 ? WordClasses::kSeparates : 0;
      if (layout == 4) role = static_cast<std::uint8_t>(drawn);
    }
    roles_ = WordClasses(roles);
    if (bytes.ConsumeBool()) make_words();
    if (bytes.ConsumeBool()) make_tokens();
    if (bytes.ConsumeBool()) make_phrases();
  }

  void check() {
    for (int k = 0; k < 4; ++k) {
      Row row(bytes_.ConsumeIntegralInRange<std::size_t>(0, 9));
      for (std::int32_t& clazz : row) clazz = label();
      for (std::size_t s = 0; s < scorers_.size(); ++s) walk(*scorers_[s].scorer, row, gain_of(s, row));
    }
    search();
  }

 private:
  enum class Kind { words, tokens, phrases };
  struct Made {
    Kind kind;
    std::unique_ptr<Scorer> scorer;
  };

  std::int32_t label() {
    std::int32_t clazz = bytes_.ConsumeIntegralInRange(0, classes_ - 2);
    return clazz + (clazz >= blank_);
  }
  double weight() { return bytes_.ConsumeIntegralInRange(-8, 16) / 4.0; }

  void make_words() {
    if (bytes_.ConsumeIntegralInRange(0, 3) > 0) word_model_ = random_model(bytes_);
    const std::int64_t words = word_model_ ? word_model_->facts().words : 1;
    const int count = bytes_.ConsumeIntegralInRange(1, 8);
    Row flat, lengths;
    for (int k = 0; k < count; ++k) {
      Row spelling(bytes_.ConsumeIntegralInRange<std::size_t>(1, 4));
      for (std::int32_t& clazz : spelling) clazz = label();
      flat.insert(flat.end(), spelling.begin(), spelling.end());
      lengths.push_back(static_cast<std::int32_t>(spelling.size()));
      numbers_.push_back(static_cast<std::int32_t>(bytes_.ConsumeIntegralInRange<std::int64_t>(-1, words - 1)));
      spellings_.push_back(std::move(spelling));
    }
    static constexpr double kUnknown[] = {-kInfinity, -10, -1, 0, 2};
    options_ = {std::fabs(weight()),
                weight(),
                bytes_.PickValueInArray(kUnknown),
                bytes_.ConsumeBool(),
                bytes_.ConsumeIntegralInRange(0, 3) > 0,
                bytes_.PickValueInArray(kUnknown)};
    scorers_.push_back({Kind::words, std::make_unique<WordScorer>(std::make_shared<WordTrie>(flat, lengths),
                                                                  word_model_, numbers_, roles_, options_)});
  }

  void make_tokens() {
    token_model_ = random_model(bytes_);
    for (int c = bytes_.ConsumeIntegralInRange(0, classes_); c > 0; --c)
      token_numbers_.push_back(
          static_cast<std::int32_t>(bytes_.ConsumeIntegralInRange<std::int64_t>(-1, token_model_->facts().words - 1)));
    token_options_ = {std::fabs(weight()), weight(), bytes_.ConsumeBool() ? weight() : -kInfinity};
    scorers_.push_back({Kind::tokens, std::make_unique<TokenScorer>(token_model_, token_numbers_, token_options_.weight,
                                                                    token_options_.bonus, token_options_.unknown)});
  }

  void make_phrases() {
    const int count = bytes_.ConsumeIntegralInRange(1, 6);
    for (int k = 0; k < count; ++k) {
      const int words = roles_.shows_words() ? bytes_.ConsumeIntegralInRange(1, 2) : 1;
      Row row;
      if (roles_.shows_words()) row.push_back(PhraseScorer::kBoundary);
      for (int w = 0; w < words; ++w) {
        for (int letters = bytes_.ConsumeIntegralInRange(1, 3); letters > 0; --letters) row.push_back(label() + 1);
        if (roles_.shows_words()) row.push_back(PhraseScorer::kBoundary);
      }
      phrases_.emplace(std::move(row), weight());
    }
    Row flat, lengths;
    std::vector<double> weights;
    for (const auto& [row, nats] : phrases_) {
      flat.insert(flat.end(), row.begin(), row.end());
      lengths.push_back(static_cast<std::int32_t>(row.size()));
      weights.push_back(nats);
    }
    scorers_.push_back({Kind::phrases, std::make_unique<PhraseScorer>(flat, lengths, weights, roles_)});
  }

  // The definitions. What a labelling gains by a scorer in all; -infinity if it is impossible.
  double gain_of(std::size_t s, const Row& row) const {
    switch (scorers_[s].kind) {
      case Kind::words:
        return gain_of_words(row);
      case Kind::tokens:
        return gain_of_tokens(row);
      default:
        return gain_of_phrases(row);
    }
  }

  std::vector<Row> words_of(const Row& row) const {
    std::vector<Row> words(1);
    for (const std::int32_t clazz : row) {
      if (roles_.separates(clazz) || roles_.starts(clazz)) words.emplace_back();
      if (roles_.separates(clazz)) continue;
      words.back().push_back(clazz);
      if (roles_.ends(clazz)) words.emplace_back();
    }
    std::erase_if(words, [](const Row& word) { return word.empty(); });
    return words;
  }

  // Of a model's steps, which a word without a number ends: there is no state for it.
  class Context {
   public:
    Context(const NGram* model, bool is_sentence) : model_(model), is_sentence_(is_sentence) {
      if (model && is_sentence && model->facts().begin >= 0)
        state_ = model->step(NGram::kEmpty, model->facts().begin).next;
    }
    double gain(std::int32_t number) const {
      number = known(number);
      return number < 0 ? 0 : model_->step(state_, number).log_probability;
    }
    void take(std::int32_t number) {
      number = known(number);
      if (model_) state_ = number < 0 ? NGram::kEmpty : model_->step(state_, number).next;
    }
    double end() const { return model_ && is_sentence_ && model_->facts().end >= 0 ? gain(model_->facts().end) : 0; }

   private:
    std::int32_t known(std::int32_t number) const {
      if (!model_) return -1;
      return number < 0 ? model_->facts().unknown : number;
    }
    const NGram* model_;
    bool is_sentence_;
    std::int32_t state_ = NGram::kEmpty;
  };

  static double times(double weight, double log_probability) {
    return weight == 0 ? 0 : weight * log_probability;  // (a model without weight forbids nothing)
  }

  double gain_of_words(const Row& row) const {
    Context context(word_model_.get(), options_.sentences);
    double sum = 0;
    for (const Row& word : words_of(row)) {
      std::int32_t best = -1;
      double most = -kInfinity;
      bool is_known = false;
      for (std::size_t k = 0; k < spellings_.size(); ++k) {
        if (spellings_[k] != word) continue;
        double gain = times(options_.weight, context.gain(numbers_[k]));
        if (word_model_ && numbers_[k] < 0 && word_model_->facts().unknown < 0) gain += options_.missing;
        if (!is_known || gain > most) best = numbers_[k], most = gain;
        is_known = true;
      }
      if (!is_known) most = options_.unknown + times(options_.weight, context.gain(-1));
      sum += most + options_.bonus;
      if (!(sum > -kInfinity)) return -kInfinity;
      context.take(best);
    }
    return sum + times(options_.weight, context.end());
  }

  double gain_of_tokens(const Row& row) const {
    Context context(token_model_.get(), true);
    double sum = 0;
    for (const std::int32_t clazz : row) {
      const auto at = static_cast<std::size_t>(clazz);
      const std::int32_t number = at < token_numbers_.size() ? token_numbers_[at] : -1;
      sum += token_options_.bonus + times(token_options_.weight, context.gain(number));
      if (number < 0) sum += token_options_.unknown;
      if (!(sum > -kInfinity)) return -kInfinity;
      context.take(number);
    }
    return sum + times(token_options_.weight, context.end());
  }

  double gain_of_phrases(const Row& row) const {
    Row symbols;
    const auto boundary = [&] {
      if (roles_.shows_words() && (symbols.empty() || symbols.back() != PhraseScorer::kBoundary))
        symbols.push_back(PhraseScorer::kBoundary);
    };
    boundary();
    for (const std::int32_t clazz : row) {
      if (roles_.separates(clazz) || roles_.starts(clazz)) boundary();
      if (!roles_.separates(clazz)) symbols.push_back(clazz + 1);
      if (roles_.ends(clazz)) boundary();
    }
    boundary();
    double sum = 0;
    for (const auto& [phrase, nats] : phrases_)
      for (auto at = symbols.begin(); at != symbols.end(); ++at)
        if (std::equal(phrase.begin(), phrase.end(), at,
                       at + std::min<std::ptrdiff_t>(symbols.end() - at, static_cast<std::ptrdiff_t>(phrase.size()))))
          sum += nats;
    return sum;
  }

  // Takes the steps of a row, and looks at those by all other classes on the way.
  void walk(Scorer& scorer, const Row& row, double expected) const {
    Scorer::State state = scorer.initial();
    double sum = 0;
    for (std::size_t k = 0; k <= row.size() && sum > -kInfinity; ++k) {
      GainSummary summary{};
      scorer.summarise({&state, 1}, {&summary, 1});
      for (std::int32_t clazz = 0; clazz < classes_; ++clazz) {
        if (clazz == blank_) continue;
        const double gain = gain_of_step(scorer, state, clazz);
        require(gain < kInfinity, "a gain is a number, or -infinity");
        require(at_most(gain, scorer.largest_gain(clazz)), "no step gains more than its class's bound");
        if ((summary.marked >> (clazz & 63) & 1) == 0)
          require(gain == summary.rest, "a step that is not marked gains the rest");
        else
          require(at_most(gain, std::max(summary.rest, summary.most)), "a marked step's bound");
      }
      if (k == row.size()) break;
      sum += gain_of_step(scorer, state, row[k]);
      Scorer::State next = 0;
      scorer.advance({&state, 1}, {&row[k], 1}, {&next, 1});
      state = next;
    }
    double end = 0;
    if (sum > -kInfinity) scorer.finish({&state, 1}, {&end, 1});
    require(near(sum + end, expected), "the steps add up to the definition");
  }

  static bool at_most(double gain, double bound) { return gain <= bound || near(gain, bound); }

  static double gain_of_step(Scorer& scorer, Scorer::State state, std::int32_t clazz) {
    double gain = 0;
    scorer.score({&state, 1}, {&clazz, 1}, {&gain, 1});
    return gain;
  }

  void search() {
    static constexpr double kLevels[] = {-0.2, -1, -1.5, -2, -4, -9, -kInfinity};
    const bool is_small = classes_ <= 4;
    const std::int64_t frames = bytes_.ConsumeIntegralInRange<std::int64_t>(0, is_small ? 5 : 12);
    std::vector<double> emissions(static_cast<std::size_t>(frames * classes_));
    for (double& x : emissions) x = bytes_.PickValueInArray(kLevels);
    const bool is_spoilt = !emissions.empty() && bytes_.ConsumeIntegralInRange(0, 15) == 0;
    if (is_spoilt) emissions[bytes_.ConsumeIntegralInRange<std::size_t>(0, emissions.size() - 1)] = kInfinity;
    Batch batch{};
    batch.dtype = DType::float64;
    batch.emissions = emissions.data();
    batch.strides = {classes_, frames * classes_, 1};
    batch.frames = frames;
    batch.items = 1;
    batch.classes = classes_;
    batch.input_lengths = &frames;
    batch.blank = blank_;
    const bool is_wide = is_small && bytes_.ConsumeIntegralInRange(0, 3) > 0;
    const int width = is_wide ? 400 : bytes_.ConsumeIntegralInRange(1, 20);
    const Kernels& kernels =
        *available_kernels()[bytes_.ConsumeIntegralInRange<std::size_t>(0, available_kernels().size() - 1)];
    const DecodingKernels& decoding = decoding_kernels_named(kernels.name);
    std::vector<Scorer*> scorers;
    for (const Made& made : scorers_) scorers.push_back(made.scorer.get());
    const DecodingOptions options{{classes_, blank_, width}, width, true};
    const DecodedItem item = std::move(decode(batch, options, scorers, 1, kernels, decoding)[0]);
    if (item.beam->status() == SearchStatus::searching) require(!item.hypotheses.empty(), "a search finds something");
    std::set<Row> found;
    double before = kInfinity;
    for (const DecodedHypothesis& one : item.hypotheses) {
      require(found.insert(one.classes).second, "a labelling is found once");
      require(one.beam_score <= before, "the best first");
      before = one.beam_score;
      double gains = 0;
      for (std::size_t s = 0; s < scorers_.size(); ++s) {
        require(near(one.gains[s], gain_of(s, one.classes)), "a hypothesis's gains are those of the definition");
        gains += one.gains[s];
      }
      require(gains > -kInfinity, "an impossible labelling is not found");
      const double exact = one.acoustic_score + gains;
      require(one.beam_score <= exact + kNear * (1 + std::fabs(exact)), "a beam has no more than all paths");
      if (is_wide) require(near(one.beam_score, exact), "a wide beam has all paths");
    }
    if (is_wide && !is_spoilt) check_others(batch, found, item, kernels, decoding);
  }

  // All labellings of 5 frames and 3 labels are 364.
  void check_others(const Batch& batch, const std::set<Row>& found, const DecodedItem& item, const Kernels& kernels,
                    const DecodingKernels& decoding) const {
    std::vector<Row> others, level{{}};
    for (std::int64_t length = 0; length <= batch.frames; ++length) {
      std::vector<Row> longer;
      for (const Row& row : level) {
        if (!found.contains(row)) others.push_back(row);
        for (std::int32_t clazz = 0; clazz < classes_; ++clazz) {
          if (clazz == blank_) continue;
          longer.push_back(row);
          longer.back().push_back(clazz);
        }
      }
      level = std::move(longer);
    }
    const std::vector<double> exact = log_likelihoods(batch, 0, others, 0, kernels, decoding);
    for (std::size_t k = 0; k < others.size(); ++k) {
      double score = exact[k];
      for (std::size_t s = 0; s < scorers_.size(); ++s) score += gain_of(s, others[k]);
      require(!(score > -kInfinity), "a wide beam loses nothing");
    }
    if (found.empty()) require(item.beam->status() == SearchStatus::no_mass, "a search without mass says so");
  }

  FuzzedDataProvider& bytes_;
  std::int32_t classes_, blank_;
  WordClasses roles_{{}};
  std::vector<Made> scorers_;
  std::shared_ptr<const NGram> word_model_, token_model_;
  std::vector<Row> spellings_;
  std::vector<std::int32_t> numbers_, token_numbers_;
  WordOptions options_{};
  struct {
    double weight, bonus, unknown;
  } token_options_{};
  std::map<Row, double> phrases_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider bytes(data, size);
  Problem(bytes).check();
  return 0;
}
