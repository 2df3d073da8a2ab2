// For libFuzzer (`make fuzz`): the core's boundary with arbitrary sizes, lengths, labels, strides, dtypes, flags and
// numbers, valid or not. Nothing may be touched that the caller does not own (AddressSanitizer watches: every array is
// exactly as large as it must be), what is invalid must be refused, and results must be what they are defined to be.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <vector>

#include "base/buffer.hpp"
#include "base/schedule.hpp"
#include "core.hpp"
#include "graph/graph.hpp"
#include "require.hpp"

using namespace ctckit;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::size_t size_of(DType dtype) { return dtype == DType::float64 ? 8 : dtype == DType::float32 ? 4 : 2; }

double half(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double sign = bits >> 15 ? -1 : 1;
  if (exponent == 31) return fraction ? std::nan("") : sign * kInfinity;
  return sign * (exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24));
}

double element(DType dtype, const std::byte* from) {
  if (dtype == DType::float64) {
    double x;
    std::memcpy(&x, from, 8);
    return x;
  }
  if (dtype == DType::float16) {
    std::uint16_t bits;
    std::memcpy(&bits, from, 2);
    return half(bits);
  }
  std::uint32_t bits = 0;
  const bool brain = dtype == DType::bfloat16;
  std::memcpy(reinterpret_cast<std::byte*>(&bits) + (brain ? 2 : 0), from, brain ? 2 : 4);
  float x;
  std::memcpy(&x, &bits, 4);
  return static_cast<double>(x);
}

void put(DType dtype, double x, std::byte* to) {
  const auto single = static_cast<float>(x);
  std::uint32_t bits;
  std::memcpy(&bits, &single, 4);
  if (dtype == DType::float64) std::memcpy(to, &x, 8);
  if (dtype == DType::float32) std::memcpy(to, &single, 4);
  if (dtype == DType::bfloat16) std::memcpy(to, reinterpret_cast<std::byte*>(&bits) + 2, 2);
  if (dtype == DType::float16) {  // those that the numbers below need: whole and half ones, and what has no digits
    std::uint16_t nearest = 0;
    double distance = kInfinity;
    for (const std::uint16_t start : {0, 0x8000})
      for (int exponent = 0; exponent < 31; ++exponent)
        for (int fraction = 0; fraction < 1024; fraction += 64) {
          const auto candidate = static_cast<std::uint16_t>(start | exponent << 10 | fraction);
          if (std::abs(half(candidate) - x) < distance) distance = std::abs(half(candidate) - x), nearest = candidate;
        }
    if (std::isinf(x)) nearest = x > 0 ? 0x7c00 : 0xfc00;
    if (std::isnan(x)) nearest = 0x7e00;
    std::memcpy(to, &nearest, 2);
  }
}

// Memory of exactly so many bytes.
struct Bytes {
  explicit Bytes(std::size_t count) : data(std::make_unique<std::byte[]>(count)), count(count) {}
  std::unique_ptr<std::byte[]> data;
  std::size_t count;
  bool operator==(const Bytes& other) const {
    return count == other.count && (count == 0 || std::memcmp(data.get(), other.data.get(), count) == 0);
  }
};

struct Results {
  std::vector<double> nll;
  Bytes out, states;
  bool operator==(const Results& other) const {
    const bool same = nll.empty() || std::memcmp(nll.data(), other.nll.data(), nll.size() * 8) == 0;
    return nll.size() == other.nll.size() && same && out == other.out && states == other.states;
  }
};

std::vector<double> palette(FuzzedDataProvider& bytes) {
  static constexpr double kLevels[] = {0,    -1,   -2,   -0.5, 3,    -20,   -60, -90,
                                       -110, -300, -680, -695, -740, -3000, 1e4, -1e30};
  std::vector<double> levels;
  const int count = bytes.ConsumeIntegralInRange(1, 5);
  for (int k = 0; k < count; ++k) levels.push_back(kLevels[bytes.ConsumeIntegralInRange<std::size_t>(0, 15)]);
  if (bytes.ConsumeBool()) levels.push_back(-kInfinity);
  if (bytes.ConsumeIntegralInRange(0, 9) == 0) levels.push_back(std::nan(""));
  if (bytes.ConsumeIntegralInRange(0, 19) == 0) levels.push_back(kInfinity);
  return levels;
}

class LossProblem {
 public:
  explicit LossProblem(FuzzedDataProvider& bytes) {
    batch_.dtype = static_cast<DType>(bytes.ConsumeIntegralInRange(0, 3));
    const bool large = bytes.ConsumeIntegralInRange(0, 15) == 0;
    batch_.frames = bytes.ConsumeIntegralInRange<std::int64_t>(0, large ? 300 : 50);
    batch_.items = bytes.ConsumeIntegralInRange<std::int64_t>(0, large ? 8 : 4);
    batch_.classes = bytes.ConsumeIntegralInRange<std::int64_t>(0, large ? 8 : 40);
    if (bytes.ConsumeIntegralInRange(0, 15) == 0) batch_.classes += 1020;
    batch_.blank = batch_.classes > 0 ? bytes.ConsumeIntegralInRange<std::int64_t>(0, batch_.classes - 1) : 0;
    batch_.logits = bytes.ConsumeBool();
    batch_.mean_gradient = bytes.ConsumeBool();
    batch_.output = static_cast<Output>(bytes.ConsumeIntegralInRange(0, 2));
    wants_states_ = bytes.ConsumeBool();
    place_targets(bytes, large ? 100 : 20);
    if (bytes.ConsumeIntegralInRange(0, 3) == 0) spoil(bytes);
    place_emissions(bytes);
    kernels_ = available_kernels()[bytes.ConsumeIntegralInRange<std::size_t>(0, available_kernels().size() - 1)];
  }

  void check() {
    std::vector<std::int64_t> offsets(static_cast<std::size_t>(batch_.items));
    batch_.offsets = offsets.data();
    const bool accepted = locate_targets(batch_, storage_, offsets.data());
    require(accepted == valid(), "locate_targets accepts what is valid, and nothing else");
    if (!accepted) return;
    // Where no item says otherwise, any number may be named as the longest target; none is longer than all labels.
    batch_.state_width = 2 * std::clamp<std::int64_t>(storage_.max_target, 0, storage_.size) + 1;
    const Results results = run_on(1, 0xff, batch_);
    require(results == run_on(3, 0, batch_), "the bits depend neither on threads nor on what scratch memory held");
    for (std::int64_t n = 0; n < batch_.items; ++n) check_item(n, results);
    check_mirrored(offsets, results);
    check_best_path(results);
  }

 private:
  void place_targets(FuzzedDataProvider& bytes, std::int64_t longest) {
    storage_.concatenated = bytes.ConsumeBool();
    std::int64_t total = 0;
    for (std::int64_t n = 0; n < batch_.items; ++n) {
      input_lengths_.push_back(bytes.ConsumeIntegralInRange<std::int64_t>(0, batch_.frames));
      target_lengths_.push_back(batch_.classes > 1 ? bytes.ConsumeIntegralInRange<std::int64_t>(
                                                         0, std::min(longest, input_lengths_.back() + 2))
                                                   : 0);
      total += target_lengths_.back();
    }
    const auto widest = target_lengths_.empty() ? 0 : *std::max_element(target_lengths_.begin(), target_lengths_.end());
    storage_.max_target = widest + bytes.ConsumeIntegralInRange(0, 2);
    storage_.size = storage_.concatenated ? total : storage_.max_target * batch_.items;
    for (std::int64_t k = 0; k < storage_.size; ++k) {
      std::int64_t label = batch_.classes > 1 ? bytes.ConsumeIntegral<std::uint8_t>() % (batch_.classes - 1) : 0;
      labels_.push_back(label + (label >= batch_.blank && batch_.classes > 1));
    }
  }

  // Makes one number an arbitrary one.
  void spoil(FuzzedDataProvider& bytes) {
    const auto number = bytes.ConsumeBool() ? bytes.ConsumeIntegral<std::int64_t>()
                                            : bytes.ConsumeIntegralInRange<std::int64_t>(-2, batch_.classes + 2);
    const auto pick = [&](std::vector<std::int64_t>& from) {
      if (!from.empty()) from[bytes.ConsumeIntegralInRange<std::size_t>(0, from.size() - 1)] = number;
    };
    switch (bytes.ConsumeIntegralInRange(0, 5)) {
      case 0:
        return pick(labels_);
      case 1:
        return pick(input_lengths_);
      case 2:
        return pick(target_lengths_);
      case 3:
        batch_.blank = number;
        return;
      case 4:
        storage_.max_target = number;
        return;
      default:  // fewer labels than are spoken of
        if (storage_.size > 0) labels_.resize(static_cast<std::size_t>(--storage_.size));
    }
  }

  void place_emissions(FuzzedDataProvider& bytes) {
    const std::vector<double> levels = palette(bytes);
    const std::int64_t sizes[3] = {batch_.frames, batch_.items, batch_.classes};
    int order[3] = {0, 1, 2};
    for (int k = 2; k > 0; --k) std::swap(order[k], order[bytes.ConsumeIntegralInRange(0, k)]);
    std::int64_t strides[3], step = 1, extent = 1;
    for (const int d : order) {
      const std::int64_t gap = bytes.ConsumeIntegralInRange(1, 2);
      strides[d] = step * gap;
      step *= std::max<std::int64_t>(sizes[d], 1) * gap;
      extent += strides[d] * std::max<std::int64_t>(sizes[d] - 1, 0);
    }
    const bool empty = sizes[0] * sizes[1] * sizes[2] == 0;
    const std::size_t width = size_of(batch_.dtype);
    emissions_ = std::make_unique<Bytes>(empty ? 0 : static_cast<std::size_t>(extent) * width);
    std::memset(emissions_->data.get(), 0xff, emissions_->count);  // a NaN between elements
    std::vector<std::vector<std::byte>> ready(levels.size(), std::vector<std::byte>(width));
    for (std::size_t k = 0; k < levels.size(); ++k) put(batch_.dtype, levels[k], ready[k].data());
    std::uint32_t seed = bytes.ConsumeIntegral<std::uint32_t>();
    const int held = bytes.ConsumeIntegralInRange(1, 20);  // frames that are the same
    for (std::int64_t n = 0; n < sizes[1]; ++n)
      for (std::int64_t c = 0; c < sizes[2]; ++c) {
        std::size_t level = 0;
        for (std::int64_t t = 0; t < sizes[0]; ++t) {
          seed = seed * 1664525u + 1013904223u;
          if (t % held == 0) level = (seed >> 16) % levels.size();
          const auto at = static_cast<std::size_t>(t * strides[0] + n * strides[1] + c * strides[2]) * width;
          std::memcpy(emissions_->data.get() + at, ready[level].data(), width);
        }
      }
    batch_.emissions = emissions_->data.get();
    batch_.strides = {strides[0], strides[1], strides[2]};
    batch_.labels = labels_.data();
    batch_.input_lengths = input_lengths_.data();
    batch_.target_lengths = target_lengths_.data();
  }

  bool valid() const {
    if (batch_.blank < 0 || batch_.blank >= batch_.classes) return false;
    if (!storage_.concatenated && batch_.items > 0 && storage_.max_target != storage_.size / batch_.items) return false;
    __int128 total = 0;
    for (std::int64_t n = 0; n < batch_.items; ++n) {
      const std::int64_t frames = input_lengths_[n], labels = target_lengths_[n];
      if (frames < 0 || frames > batch_.frames || labels < 0 || labels > storage_.max_target) return false;
      const __int128 first = storage_.concatenated ? total : static_cast<__int128>(n) * storage_.max_target;
      if (first + labels > storage_.size) return false;
      for (std::int64_t s = 0; s < labels; ++s) {
        const std::int64_t label = labels_[static_cast<std::size_t>(first) + static_cast<std::size_t>(s)];
        if (label < 0 || label >= batch_.classes || label == batch_.blank) return false;
      }
      total += labels;
    }
    return !storage_.concatenated || total == storage_.size;
  }

  Results run_on(int threads, int filler, Batch batch) const {
    const std::size_t width = size_of(batch.dtype);
    const auto cells = static_cast<std::size_t>(batch.frames * batch.items);
    Results results{std::vector<double>(static_cast<std::size_t>(batch.items)),
                    Bytes(batch.output == Output::none ? 0 : cells * static_cast<std::size_t>(batch.classes) * width),
                    Bytes(wants_states_ ? cells * static_cast<std::size_t>(batch.state_width) * width : 0)};
    batch.nll = results.nll.data();
    batch.out = results.out.data.get();
    batch.out_strides = {batch.items * batch.classes, batch.classes, 1};
    batch.state_occupancy = wants_states_ ? results.states.data.get() : nullptr;
    Buffer::fill_with(filler);
    run(*kernels_, batch, threads);
    return results;
  }

  double emission(std::int64_t t, std::int64_t n, std::int64_t c) const {
    const std::int64_t at = t * batch_.strides.frame + n * batch_.strides.item + c * batch_.strides.clazz;
    return element(batch_.dtype, emissions_->data.get() + static_cast<std::size_t>(at) * size_of(batch_.dtype));
  }

  void check_item(std::int64_t n, const Results& results) const {
    const std::int64_t frames = input_lengths_[n], labels = target_lengths_[n];
    const std::int64_t* const target = batch_.labels + batch_.offsets[n];
    std::int64_t needed = labels;
    for (std::int64_t s = 1; s < labels; ++s) needed += target[s] == target[s - 1];
    bool finite = true, number = true;
    for (std::int64_t t = 0; t < frames; ++t)
      for (std::int64_t c = 0; c < batch_.classes; ++c) {
        finite &= std::isfinite(emission(t, n, c));
        number &= emission(t, n, c) < kInfinity;  // neither NaN nor +infinity
      }
    const double nll = results.nll[n];
    if (needed > frames) require(nll == kInfinity, "too few frames: an infinite loss");
    if (needed <= frames && finite) require(std::isfinite(nll), "finite emissions of a feasible item: a finite loss");
    if (number) require(!std::isnan(nll), "no NaN without a NaN");
    if (number && batch_.logits) require(nll >= -1e-6, "a likelihood of 1 at most");
    for (std::int64_t t = 0; t < batch_.frames; ++t) {
      if (batch_.output != Output::none) {
        const double expected = batch_.output == Output::occupancy ? 1 : batch_.logits ? 0 : -weight(labels);
        check_row(results.out, (t * batch_.items + n) * batch_.classes, batch_.classes, t < frames, nll, expected);
      }
      if (wants_states_)
        check_row(results.states, (t * batch_.items + n) * batch_.state_width, batch_.state_width, t < frames, nll, 1);
    }
  }

  double weight(std::int64_t labels) const {
    return batch_.mean_gradient && batch_.output == Output::gradient
               ? 1.0 / static_cast<double>(batch_.items * std::max<std::int64_t>(labels, 1))
               : 1.0;
  }

  void check_row(const Bytes& from, std::int64_t first, std::int64_t count, bool inside, double nll,
                 double expected) const {
    double sum = 0, largest = 0;
    const std::size_t width = size_of(batch_.dtype);
    for (std::int64_t k = 0; k < count; ++k) {
      const double x = element(batch_.dtype, from.data.get() + static_cast<std::size_t>(first + k) * width);
      if (!inside || nll == kInfinity) require(x == 0, "0 beyond the length, and where there is no path");
      if (inside && std::isnan(nll)) require(std::isnan(x), "NaN in every frame of an item that holds one");
      sum += x;
      largest = std::max(largest, std::abs(x));
    }
    if (!inside || !std::isfinite(nll)) return;
    const double rounding = batch_.dtype == DType::float64    ? 1e-9
                            : batch_.dtype == DType::float32  ? 1e-5
                            : batch_.dtype == DType::bfloat16 ? 0.02
                                                              : 0.005;
    require(std::abs(sum - expected) <= rounding * (1 + static_cast<double>(count) * 0.01), "a frame's sum");
    require(largest <= 1 + rounding, "no probability beyond 1");
  }

  // The batch from its last item to its first, in the same memory.
  void check_mirrored(const std::vector<std::int64_t>& offsets, const Results& results) const {
    if (batch_.items == 0 || batch_.mean_gradient) return;
    Batch mirrored = batch_;
    mirrored.emissions =
        emissions_->count == 0
            ? batch_.emissions
            : emissions_->data.get() +
                  static_cast<std::size_t>((batch_.items - 1) * batch_.strides.item) * size_of(batch_.dtype);
    mirrored.strides.item = -batch_.strides.item;
    const auto backward = [](std::vector<std::int64_t> v) { return std::vector(v.rbegin(), v.rend()); };
    const std::vector<std::int64_t> own_offsets = backward(offsets), frames = backward(input_lengths_),
                                    labels = backward(target_lengths_);
    mirrored.offsets = own_offsets.data();
    mirrored.input_lengths = frames.data();
    mirrored.target_lengths = labels.data();
    std::vector<double> nll = run_on(1, 0x55, mirrored).nll;
    std::reverse(nll.begin(), nll.end());
    require(std::memcmp(nll.data(), results.nll.data(), nll.size() * 8) == 0, "a loss depends on its item alone");
  }

  void check_best_path(const Results& results) {
    const auto cells = static_cast<std::size_t>(batch_.frames * batch_.items);
    std::vector<std::int64_t> classes(cells), states(cells);
    Bytes scores(cells * size_of(batch_.dtype));
    std::vector<double> nll(static_cast<std::size_t>(batch_.items));
    Batch batch = batch_;
    batch.output = Output::none;
    batch.nll = nll.data();
    batch.path = {classes.data(), states.data(), scores.data.get(), batch_.frames % 2 == 0 ? 0 : 1 << 20,
                  batch_.frames % 3 == 0 ? Pruning::if_it_pays : Pruning::always};
    run(*kernels_, batch, 2);
    for (std::int64_t n = 0; n < batch_.items; ++n) {
      const std::int64_t* const own = states.data() + n * batch_.frames;
      std::int64_t before = 0;
      for (std::int64_t t = 0; t < batch_.frames; ++t) {
        const std::int64_t c = classes[static_cast<std::size_t>(n * batch_.frames + t)];
        if (t >= input_lengths_[n] || !std::isfinite(nll[n])) {
          require(own[t] == -1 && c == batch_.blank, "no path: the blank, in no state");
          continue;
        }
        require(own[t] >= before && own[t] <= before + (t == 0 ? 1 : 2), "a path moves on by two states at most");
        const std::int64_t label = own[t] % 2 == 0 ? batch_.blank : batch_.labels[batch_.offsets[n] + own[t] / 2];
        require(c == label, "a path's class is that of its state");
        before = own[t];
      }
      if (std::isfinite(nll[n]) && input_lengths_[n] > 0)
        require(before >= 2 * target_lengths_[n] - 1, "a path reaches the end");
      if (!batch_.logits && std::isfinite(nll[n]) && std::isfinite(results.nll[n]))
        require(results.nll[n] <= nll[n] + 1e-6 * (1 + std::abs(nll[n])), "no path beats all of them together");
    }
  }

  Batch batch_ = {};
  LabelStorage storage_ = {};
  bool wants_states_ = false;
  std::vector<std::int64_t> labels_, input_lengths_, target_lengths_;
  std::unique_ptr<Bytes> emissions_;
  const Kernels* kernels_ = nullptr;
};

class GraphProblem {
 public:
  explicit GraphProblem(FuzzedDataProvider& bytes) {
    states_ = bytes.ConsumeIntegralInRange<std::int64_t>(1, 12);
    frames_ = bytes.ConsumeIntegralInRange<std::int64_t>(1, 40);
    columns_ = bytes.ConsumeIntegralInRange<std::int64_t>(1, 5);
    k_ = bytes.ConsumeIntegralInRange<std::int64_t>(1, 40);
    offsets_.push_back(0);
    initial_ = std::make_unique<bool[]>(static_cast<std::size_t>(states_));
    for (std::int64_t s = 0; s < states_; ++s) {
      classes_.push_back(bytes.ConsumeIntegralInRange<std::int64_t>(0, columns_ - 1));
      sources_.push_back(s);
      for (std::int64_t before = s - 1; before >= 0; --before)
        if (bytes.ConsumeBool()) sources_.push_back(before);
      offsets_.push_back(static_cast<std::int64_t>(sources_.size()));
      initial_[static_cast<std::size_t>(s)] = bytes.ConsumeBool();
      if (bytes.ConsumeBool()) finals_.push_back(s);
    }
    if (finals_.empty()) finals_.push_back(states_ - 1);
    std::vector<double> levels = palette(bytes);
    for (double& level : levels)
      if (!(level < kInfinity)) level = -1;
    for (std::int64_t at = 0; at < frames_ * columns_; ++at)
      emissions_.push_back(levels[bytes.ConsumeIntegralInRange<std::size_t>(0, levels.size() - 1)]);
    for (std::int64_t at = 0; at < 3 * frames_; ++at)
      uniforms_.push_back(bytes.ConsumeProbability<double>() * 0.999999);
  }

  void check() const {
    const Graph graph(states_, classes_.data(), sources_.data(), offsets_.data(), initial_.get(),
                      static_cast<std::int64_t>(finals_.size()), finals_.data());
    const GraphEmissions emissions{emissions_.data(), frames_, columns_};
    std::vector<std::int64_t> paths(static_cast<std::size_t>(k_ * frames_));
    std::vector<double> totals(static_cast<std::size_t>(k_));
    const std::int64_t found = best_graph_paths(graph, emissions, k_, paths.data(), totals.data());
    require(found >= 0 && found <= k_, "as many paths as were asked for, at most");
    for (std::int64_t n = 0; n < found; ++n) {
      const double total = totals[static_cast<std::size_t>(n)];
      if (n > 0) require(total <= totals[static_cast<std::size_t>(n - 1)], "best first");
      require(std::abs(total - score(paths.data() + n * frames_)) <= 1e-9 * (1 + std::abs(total)), "a path's total");
      for (std::int64_t m = 0; m < n; ++m)
        require(
            !std::equal(paths.begin() + n * frames_, paths.begin() + (n + 1) * frames_, paths.begin() + m * frames_),
            "every path once");
    }
    std::vector<double> occupancy(static_cast<std::size_t>(frames_ * states_));
    const double log_likelihood = graph_posteriors(graph, emissions, occupancy.data());
    require((found > 0) == (log_likelihood > -kInfinity), "a likelihood where there is a path");
    for (std::int64_t t = 0; t < frames_; ++t) {
      const double sum = std::accumulate(occupancy.begin() + t * states_, occupancy.begin() + (t + 1) * states_, 0.0);
      require(std::abs(sum - (found > 0)) < 1e-9, "a frame's occupancy");
    }
    if (found > 0)
      require(totals[0] <= log_likelihood + 1e-9 * (1 + std::abs(totals[0])), "no path beats all together");
    std::vector<std::int64_t> samples(static_cast<std::size_t>(3 * frames_), -1);
    const double again = sample_graph_paths(graph, emissions, uniforms_.data(), 3, samples.data());
    require(again == log_likelihood, "one likelihood");
    for (int n = 0; n < 3 && found > 0; ++n)
      require(score(samples.data() + n * frames_) > -kInfinity, "a sample is a path that can be");
  }

 private:
  // Of a path; aborts if it is none.
  double score(const std::int64_t* path) const {
    double total = 0;
    for (std::int64_t t = 0; t < frames_; ++t) {
      require(path[t] >= 0 && path[t] < states_, "a state");
      const auto s = static_cast<std::size_t>(path[t]);
      const auto first = sources_.begin() + offsets_[s], last = sources_.begin() + offsets_[s + 1];
      require(t == 0 ? initial_[s] : std::find(first, last, path[t - 1]) != last, "a path goes along the arcs");
      total += emissions_[static_cast<std::size_t>(t * columns_ + classes_[s])];
    }
    require(std::find(finals_.begin(), finals_.end(), path[frames_ - 1]) != finals_.end(), "a path ends where it may");
    return total;
  }

  std::int64_t states_, frames_, columns_, k_;
  std::vector<std::int64_t> classes_, sources_, offsets_, finals_;
  std::unique_ptr<bool[]> initial_;
  std::vector<double> emissions_, uniforms_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider bytes(data, size);
  if (bytes.ConsumeIntegralInRange(0, 3) > 0) {
    LossProblem(bytes).check();
  } else {
    GraphProblem(bytes).check();
  }
  return 0;
}
