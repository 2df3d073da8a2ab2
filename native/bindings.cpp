// The Python module ctckit._core. Only this file and decoding/bindings.cpp know of Python.
#include "bindings.hpp"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <tuple>
#include <vector>

#include "base/buffer.hpp"
#include "base/schedule.hpp"
#include "core.hpp"
#include "graph/graph.hpp"

namespace nb = nanobind;
using namespace ctckit;

namespace {

// labels, how many, the longest target, whether concatenated, input lengths, target lengths, blank
using Targets =
    std::tuple<std::uintptr_t, std::int64_t, std::int64_t, bool, std::uintptr_t, std::uintptr_t, std::int64_t>;

// The result of a call. cpu.py knows the numbers.
enum class Outcome : int {
  done,
  invalid,    // a length or a label is out of bounds; nothing has been computed
  no_memory,  // an argument is misaligned, or seems to have no memory; nothing has been read
};

// Whether numbers of `size` bytes can be read or written at an address. A tensor without memory has the address 0 plus
// its offset. Real addresses are above 4 GiB on most systems; where they are not, Python checks the tensor and calls
// again with `trusted`.
bool usable(std::uintptr_t address, std::int64_t count, std::size_t size, bool trusted) {
  constexpr std::uintptr_t kLowest = std::uintptr_t{1} << 32;
  return count == 0 || (address != 0 && (trusted || address >= kLowest) && address % size == 0);
}

// Set by tests only: what may be left out of an item's probability (loss/band.hpp), and the most memory that is planned
// for all positions of an item.
std::atomic<double> band_budget{Batch{}.band_budget};
std::atomic<std::int64_t> most_planned{Batch{}.most_planned};

// The arguments that all functions of a batch begin with: the emissions and the targets.
class Problem {
 public:
  Problem(int dtype, std::uintptr_t emissions, const Triple& shape, const Triple& strides, const Targets& targets)
      : offsets_(static_cast<std::size_t>(std::get<1>(shape))), nll_(offsets_.size()) {
    batch.dtype = static_cast<DType>(dtype);
    batch.emissions = pointer<const void>(emissions);
    batch.strides = strides_of(strides);
    std::tie(batch.frames, batch.items, batch.classes) = shape;
    batch.labels = pointer<const std::int64_t>(std::get<0>(targets));
    batch.offsets = offsets_.data();
    batch.input_lengths = pointer<const std::int64_t>(std::get<4>(targets));
    batch.target_lengths = pointer<const std::int64_t>(std::get<5>(targets));
    batch.blank = std::get<6>(targets);
    batch.nll = nll_.data();
    batch.output = Output::none;
    batch.band_budget = band_budget;
    batch.most_planned = most_planned;
    storage_ = {std::get<1>(targets), std::get<2>(targets), std::get<3>(targets)};
  }
  Problem(const Problem&) = delete;
  Problem& operator=(const Problem&) = delete;

  std::int64_t cells() const { return batch.frames * batch.items; }
  std::size_t element_size() const { return size_of(batch.dtype); }

  // Computes what `batch` asks for, then calls `finish` with the losses of the items.
  template <class Finish>
  int run(int threads, bool trusted, Finish finish) {
    if (!readable(trusted)) return static_cast<int>(Outcome::no_memory);
    const Kernels& kernels = chosen_kernels();
    const nb::gil_scoped_release release;
    if (!locate_targets(batch, storage_, offsets_.data())) return static_cast<int>(Outcome::invalid);
    ctckit::run(kernels, batch, threads);
    finish(nll_);
    return static_cast<int>(Outcome::done);
  }
  int run(int threads, bool trusted) {
    return run(threads, trusted, [](auto&) {});
  }

  Batch batch{};

 private:
  bool readable(bool trusted) const {
    const auto integers = [&](const std::int64_t* from, std::int64_t count) {
      return usable(reinterpret_cast<std::uintptr_t>(from), count, sizeof(std::int64_t), trusted);
    };
    return usable(reinterpret_cast<std::uintptr_t>(batch.emissions), cells() * batch.classes, element_size(),
                  trusted) &&
           integers(batch.labels, storage_.size) && integers(batch.input_lengths, batch.items) &&
           integers(batch.target_lengths, batch.items);
  }

  LabelStorage storage_;
  std::vector<std::int64_t> offsets_;
  std::vector<double> nll_;
};

// Writes the loss, one number or, without reduction, one per item: doubles where the emissions are, else floats. Writes
// the gradient unless its address is 0.
int loss(int dtype, std::uintptr_t emissions, const Triple& shape, const Triple& strides, const Targets& targets,
         int threads, bool trusted, const LossOptions& options, std::uintptr_t result, std::uintptr_t gradient,
         const Triple& gradient_strides) {
  Problem problem(dtype, emissions, shape, strides, targets);
  Batch& batch = problem.batch;
  batch.logits = options.logits;
  batch.mean_gradient = options.mean_gradient;
  if (gradient != 0) {
    require_memory(gradient, problem.cells() * batch.classes, problem.element_size());
    batch.output = Output::gradient;
    batch.out = pointer<void>(gradient);
    batch.out_strides = strides_of(gradient_strides);
  }
  return problem.run(threads, trusted, [&](std::vector<double>& nll) {
    const bool reduced = options.reduction != Reduction::none;
    if (reduced || options.zero_infinity) {
      const double sum = reduce(batch, options);
      if (reduced) nll.assign(1, sum);
    }
    if (batch.dtype == DType::float64) {
      std::copy(nll.begin(), nll.end(), pointer<double>(result));
    } else {
      std::transform(nll.begin(), nll.end(), pointer<float>(result), [](double x) { return static_cast<float>(x); });
    }
  });
}

// Writes the occupancy of every class, (frames, items, classes) contiguous.
int class_occupancy(int dtype, std::uintptr_t emissions, const Triple& shape, const Triple& strides,
                    const Targets& targets, int threads, bool trusted, bool logits, std::uintptr_t occupancy) {
  Problem problem(dtype, emissions, shape, strides, targets);
  Batch& batch = problem.batch;
  require_memory(occupancy, problem.cells() * batch.classes, problem.element_size());
  batch.logits = logits;
  batch.output = Output::occupancy;
  batch.out = pointer<void>(occupancy);
  batch.out_strides = {batch.items * batch.classes, batch.classes, 1};
  return problem.run(threads, trusted);
}

// Writes the occupancy of every state, (frames, items, width) contiguous. Unless its address is 0, writes to `lost` the
// part of each item's probability that has been left out (loss/band.hpp).
int state_occupancy(int dtype, std::uintptr_t emissions, const Triple& shape, const Triple& strides,
                    const Targets& targets, int threads, bool trusted, bool logits, std::int64_t width,
                    std::uintptr_t occupancy, std::uintptr_t lost) {
  Problem problem(dtype, emissions, shape, strides, targets);
  require_memory(occupancy, problem.cells() * width, problem.element_size());
  if (lost != 0) require_memory(lost, problem.batch.items, sizeof(double));
  problem.batch.lost = pointer<double>(lost);
  problem.batch.logits = logits;
  problem.batch.state_width = width;
  problem.batch.state_occupancy = pointer<void>(occupancy);
  return problem.run(threads, trusted);
}

// Writes the occupancy of one state per frame; both are (items, frames) contiguous.
int path_occupancy(int dtype, std::uintptr_t emissions, const Triple& shape, const Triple& strides,
                   const Targets& targets, int threads, bool trusted, bool logits, std::uintptr_t states,
                   std::uintptr_t occupancy) {
  Problem problem(dtype, emissions, shape, strides, targets);
  require_memory(states, problem.cells(), sizeof(std::int64_t));
  require_memory(occupancy, problem.cells(), problem.element_size());
  problem.batch.logits = logits;
  problem.batch.path_states = pointer<const std::int64_t>(states);
  problem.batch.path_occupancy = pointer<void>(occupancy);
  return problem.run(threads, trusted);
}

// Writes the best path of each item, see `PathOutput`, and minus its score.
int best_path(int dtype, std::uintptr_t emissions, const Triple& shape, const Triple& strides, const Targets& targets,
              int threads, bool trusted, std::uintptr_t classes, std::uintptr_t states, std::uintptr_t scores,
              std::uintptr_t nll, std::int64_t checkpoint_bytes, int pruning) {
  Problem problem(dtype, emissions, shape, strides, targets);
  require_memory(classes, problem.cells(), sizeof(std::int64_t));
  require_memory(states, problem.cells(), sizeof(std::int64_t));
  require_memory(scores, problem.cells(), problem.element_size());
  require_memory(nll, problem.batch.items, sizeof(double));
  problem.batch.nll = pointer<double>(nll);
  problem.batch.path = {pointer<std::int64_t>(classes), pointer<std::int64_t>(states), pointer<void>(scores),
                        checkpoint_bytes, static_cast<Pruning>(pruning)};
  return problem.run(threads, trusted);
}

// Whether the number at an address is 1; false if the address is null. It need not be aligned.
bool is_one(std::uintptr_t number, bool is_double) {
  if (number == 0) return false;
  float single = 0;
  double real = 0;
  if (is_double) {
    std::memcpy(&real, pointer<const void>(number), sizeof real);
  } else {
    std::memcpy(&single, pointer<const void>(number), sizeof single);
    real = single;
  }
  return real == 1;
}

// Memory for a large result, as an array of bytes. When the last tensor on it is gone, it is kept for the next result.
nb::ndarray<nb::numpy, std::uint8_t, nb::ndim<1>> buffer(std::size_t bytes) {
  Buffer* const buffer = Buffer::take(bytes).release();
  const nb::capsule owner(
      buffer, [](void* p) noexcept { Buffer::give_back(std::unique_ptr<Buffer>(static_cast<Buffer*>(p))); });
  return {buffer->data(), {bytes}, owner};
}

void make_graph(Graph* self, std::int64_t states, std::uintptr_t classes, std::uintptr_t sources,
                std::uintptr_t offsets, std::uintptr_t initial, std::int64_t final_count, std::uintptr_t finals) {
  constexpr std::size_t integer = sizeof(std::int64_t);
  require_memory(classes, states, integer);
  require_memory(sources, states, integer);
  require_memory(offsets, states + 1, integer);
  require_memory(initial, states, sizeof(bool));
  require_memory(finals, final_count, integer);
  new (self) Graph(states, pointer<const std::int64_t>(classes), pointer<const std::int64_t>(sources),
                   pointer<const std::int64_t>(offsets), pointer<const bool>(initial), final_count,
                   pointer<const std::int64_t>(finals));
}

GraphEmissions graph_emissions(std::uintptr_t values, std::int64_t frames, std::int64_t columns) {
  require_memory(values, frames * columns, sizeof(double));
  return {pointer<const double>(values), frames, columns};
}

std::int64_t best_paths(const Graph& graph, std::uintptr_t emissions, std::int64_t frames, std::int64_t columns,
                        std::int64_t k, std::uintptr_t paths, std::uintptr_t totals) {
  const GraphEmissions table = graph_emissions(emissions, frames, columns);
  require_memory(paths, k * frames, sizeof(std::int64_t));
  require_memory(totals, k, sizeof(double));
  const nb::gil_scoped_release release;
  return best_graph_paths(graph, table, k, pointer<std::int64_t>(paths), pointer<double>(totals));
}

double sample_paths(const Graph& graph, std::uintptr_t emissions, std::int64_t frames, std::int64_t columns,
                    std::int64_t count, std::uintptr_t uniforms, std::uintptr_t paths) {
  const GraphEmissions table = graph_emissions(emissions, frames, columns);
  require_memory(uniforms, count * frames, sizeof(double));
  require_memory(paths, count * frames, sizeof(std::int64_t));
  const nb::gil_scoped_release release;
  return sample_graph_paths(graph, table, pointer<const double>(uniforms), count, pointer<std::int64_t>(paths));
}

double posteriors(const Graph& graph, std::uintptr_t emissions, std::int64_t frames, std::int64_t columns,
                  std::uintptr_t occupancy) {
  const GraphEmissions table = graph_emissions(emissions, frames, columns);
  require_memory(occupancy, frames * graph.states, sizeof(double));
  const nb::gil_scoped_release release;
  return graph_posteriors(graph, table, pointer<double>(occupancy));
}

std::vector<std::string> simd_levels() {
  std::vector<std::string> names;
  for (const Kernels* kernels : available_kernels()) names.emplace_back(kernels->name);
  return names;
}

// A function of a batch: `Problem`'s arguments, then its own.
template <class Function, class... Own>
void def_batch(nb::module_& m, const char* name, Function function, Own... own) {
  m.def(name, function, nb::arg("dtype"), nb::arg("emissions"), nb::arg("shape"), nb::arg("strides"),
        nb::arg("targets"), nb::arg("threads"), nb::arg("trusted"), own...);
}

}  // namespace

void ctckit::require_memory(std::uintptr_t address, std::int64_t count, std::size_t size) {
  if (!usable(address, count, size, true)) throw nb::value_error("an address is null or misaligned");
}

std::size_t ctckit::size_of(DType dtype) {
  switch (dtype) {
    case DType::float16:
    case DType::bfloat16:
      return 2;
    case DType::float32:
      return 4;
    default:
      return 8;
  }
}

const Kernels& ctckit::chosen_kernels() {
  const char* const simd = std::getenv("CTCKIT_SIMD");
  return simd == nullptr || *simd == 0 ? *available_kernels().front() : kernels_named(simd);
}

NB_MODULE(_core, m) {
  nb::set_leak_warnings(false);  // an object that lives until the interpreter ends is no leak
  m.doc() = "The C++ core of ctckit: addresses in, numbers out. Use ctckit.ctc_loss and the other functions instead.";
  nb::class_<LossOptions>(m, "LossOptions")
      .def(
          "__init__",
          [](LossOptions* self, bool logits, int reduction, bool zero_infinity, bool mean_gradient) {
            new (self) LossOptions{logits, static_cast<Reduction>(reduction), zero_infinity, mean_gradient};
          },
          nb::arg("logits"), nb::arg("reduction"), nb::arg("zero_infinity"), nb::arg("mean_gradient"));
  def_batch(m, "loss", &loss, nb::arg("options"), nb::arg("result"), nb::arg("gradient"), nb::arg("gradient_strides"));
  def_batch(m, "class_occupancy", &class_occupancy, nb::arg("logits"), nb::arg("occupancy"));
  def_batch(m, "state_occupancy", &state_occupancy, nb::arg("logits"), nb::arg("width"), nb::arg("occupancy"),
            nb::arg("lost") = 0);
  def_batch(m, "path_occupancy", &path_occupancy, nb::arg("logits"), nb::arg("states"), nb::arg("occupancy"));
  def_batch(m, "best_path", &best_path, nb::arg("classes"), nb::arg("states"), nb::arg("scores"), nb::arg("nll"),
            nb::arg("checkpoint_bytes"), nb::arg("pruning"));
  nb::class_<Graph>(m, "Graph")
      .def("__init__", &make_graph, nb::arg("states"), nb::arg("classes"), nb::arg("sources"), nb::arg("offsets"),
           nb::arg("initial"), nb::arg("final_count"), nb::arg("finals"))
      .def("best_paths", &best_paths, nb::arg("emissions"), nb::arg("frames"), nb::arg("columns"), nb::arg("k"),
           nb::arg("paths"), nb::arg("totals"))
      .def("sample_paths", &sample_paths, nb::arg("emissions"), nb::arg("frames"), nb::arg("columns"), nb::arg("count"),
           nb::arg("uniforms"), nb::arg("paths"))
      .def("posteriors", &posteriors, nb::arg("emissions"), nb::arg("frames"), nb::arg("columns"),
           nb::arg("occupancy"));
  define_decoding(m);
  define_language(m);
  m.def("is_one", &is_one, nb::arg("number"), nb::arg("is_double"));
  m.def("buffer", &buffer, nb::arg("bytes"));
  m.def("set_band_budget", [](double budget) { band_budget = budget; }, nb::arg("budget"));
  m.def("set_most_planned", [](std::int64_t bytes) { most_planned = bytes; }, nb::arg("bytes"));
  m.def("release_memory", &Buffer::release_kept);
  m.def("fill_memory", &Buffer::fill_with, nb::arg("byte"));
  m.def("simd_levels", &simd_levels);
}
