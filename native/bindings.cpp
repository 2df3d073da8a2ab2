// The Python module ctckit._core. The only file that knows of Python, and of how little it takes to be called: pointers
// as integers, strides in elements. ctckit/backends/cpu.py is its only caller and keeps the memory alive.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include "base/buffer.hpp"
#include "core.hpp"
#include "graph/graph.hpp"

namespace nb = nanobind;
using namespace ctckit;

namespace {

using Triple = std::tuple<std::int64_t, std::int64_t, std::int64_t>;

// labels, how many, the longest target, whether concatenated, input lengths, target lengths, blank
using Targets =
    std::tuple<std::uintptr_t, std::int64_t, std::int64_t, bool, std::uintptr_t, std::uintptr_t, std::int64_t>;

template <class T>
T* pointer(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

// What a call came to. Python knows the numbers.
enum class Outcome : int {
  done,
  invalid,    // a length or a label is out of bounds; nothing has been computed
  no_memory,  // an argument is misaligned, or seems to have no memory; nothing has been read
};

// Whether numbers of `size` bytes can be read or written at an address. Tensors without memory have the address 0, or
// what is left of it when their offset is added. (Real addresses are higher than 4 GiB, but on systems that place
// programs low: there Python looks again.)
bool usable(std::uintptr_t address, std::int64_t count, std::size_t size, bool trusted) {
  constexpr std::uintptr_t kLowest = std::uintptr_t{1} << 32;
  return count == 0 || (address != 0 && (trusted || address >= kLowest) && address % size == 0);
}

std::size_t size_of(int dtype) {
  switch (static_cast<DType>(dtype)) {
    case DType::float16:
    case DType::bfloat16:
      return 2;
    case DType::float32:
      return 4;
    default:
      return 8;
  }
}

std::int64_t volume(const Triple& shape) { return std::get<0>(shape) * std::get<1>(shape) * std::get<2>(shape); }

// Whether the arguments of a call can be read.
bool usable(int dtype, std::uintptr_t emissions, const Triple& shape, const Targets& targets, bool trusted) {
  const std::int64_t items = std::get<1>(shape);
  constexpr std::size_t integer = sizeof(std::int64_t);
  return usable(emissions, volume(shape), size_of(dtype), trusted) &&
         usable(std::get<0>(targets), std::get<1>(targets), integer, trusted) &&
         usable(std::get<4>(targets), items, integer, trusted) && usable(std::get<5>(targets), items, integer, trusted);
}

// For memory that our own Python has made: nothing but a mistake there can make it unusable.
void require_memory(std::uintptr_t address, std::int64_t count, std::size_t size) {
  if (!usable(address, count, size, true)) throw nb::value_error("an address is null or misaligned");
}

Strides strides_of(const Triple& strides) { return {std::get<0>(strides), std::get<1>(strides), std::get<2>(strides)}; }

LabelStorage storage_of(const Targets& targets) {
  return {std::get<1>(targets), std::get<2>(targets), std::get<3>(targets)};
}

// A batch of which nothing is asked yet. `offsets` is room for a number per item.
Batch batch_of(int dtype, std::uintptr_t emissions, const Triple& shape, const Triple& strides, const Targets& targets,
               const std::vector<std::int64_t>& offsets) {
  Batch batch{};
  batch.dtype = static_cast<DType>(dtype);
  batch.emissions = pointer<const void>(emissions);
  batch.strides = strides_of(strides);
  std::tie(batch.frames, batch.items, batch.classes) = shape;
  batch.labels = pointer<const std::int64_t>(std::get<0>(targets));
  batch.offsets = offsets.data();
  batch.input_lengths = pointer<const std::int64_t>(std::get<4>(targets));
  batch.target_lengths = pointer<const std::int64_t>(std::get<5>(targets));
  batch.blank = std::get<6>(targets);
  batch.output = Output::none;
  return batch;
}

// The instruction set that CTCKIT_SIMD names, or the best. Asked for here: Python takes longer to look at its
// environment.
const Kernels& chosen_kernels() {
  const char* const simd = std::getenv("CTCKIT_SIMD");
  return simd == nullptr || *simd == 0 ? *available_kernels().front() : kernels_named(simd);
}

// Writes the loss, one number or, without reduction, one per item.
int loss(int dtype, std::uintptr_t emissions, const Triple& shape, const Triple& strides, const Targets& targets,
         bool logits, int reduction, bool zero_infinity, bool mean_weights, std::uintptr_t result,
         bool result_is_double, int output, std::uintptr_t out, const Triple& out_strides,
         std::uintptr_t state_occupancy, std::int64_t state_width, std::uintptr_t path_states,
         std::uintptr_t path_occupancy, int threads, bool trusted) {
  if (!usable(dtype, emissions, shape, targets, trusted)) return static_cast<int>(Outcome::no_memory);
  const std::int64_t frames = std::get<0>(shape);
  if (static_cast<Output>(output) != Output::none) require_memory(out, volume(shape), size_of(dtype));
  if (state_width != 0) require_memory(state_occupancy, frames * std::get<1>(shape) * state_width, size_of(dtype));
  if (path_states != 0) {
    require_memory(path_states, frames * std::get<1>(shape), sizeof(std::int64_t));
    require_memory(path_occupancy, frames * std::get<1>(shape), size_of(dtype));
  }
  const Kernels& kernels = chosen_kernels();
  const auto items = static_cast<std::size_t>(std::get<1>(shape));
  std::vector<double> nll(items);
  std::vector<std::int64_t> offsets(items);
  Batch batch = batch_of(dtype, emissions, shape, strides, targets, offsets);
  batch.logits = logits;
  batch.mean_weights = mean_weights;
  batch.nll = nll.data();
  batch.output = static_cast<Output>(output);
  batch.out = pointer<void>(out);
  batch.out_strides = strides_of(out_strides);
  batch.state_occupancy = pointer<void>(state_occupancy);
  batch.state_width = state_width;
  batch.path_states = pointer<const std::int64_t>(path_states);
  batch.path_occupancy = pointer<void>(path_occupancy);
  const nb::gil_scoped_release release;
  if (!locate_targets(batch, storage_of(targets), offsets.data())) return static_cast<int>(Outcome::invalid);
  run(kernels, batch, threads);
  if (static_cast<Reduction>(reduction) != Reduction::none || zero_infinity) {
    const double reduced = reduce(batch, static_cast<Reduction>(reduction), zero_infinity);
    if (static_cast<Reduction>(reduction) != Reduction::none) nll.assign(1, reduced);
  }
  if (result == 0) return static_cast<int>(Outcome::done);
  if (result_is_double) {
    std::copy(nll.begin(), nll.end(), pointer<double>(result));
  } else {
    std::transform(nll.begin(), nll.end(), pointer<float>(result), [](double x) { return static_cast<float>(x); });
  }
  return static_cast<int>(Outcome::done);
}

// Whether the number at an address is 1; if there is no memory, nobody can tell. It need not be aligned.
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

// Memory for a large result, as an array of bytes; kept for the next one when the last tensor over it is gone.
nb::ndarray<nb::numpy, std::uint8_t, nb::ndim<1>> buffer(std::size_t bytes) {
  Buffer* const buffer = Buffer::take(bytes).release();
  const nb::capsule owner(
      buffer, [](void* p) noexcept { Buffer::give_back(std::unique_ptr<Buffer>(static_cast<Buffer*>(p))); });
  return {buffer->data(), {bytes}, owner};
}

int best_path(int dtype, std::uintptr_t log_probs, const Triple& shape, const Triple& strides, const Targets& targets,
              std::uintptr_t classes, std::uintptr_t states, std::uintptr_t scores, std::uintptr_t nll,
              std::int64_t checkpoint_bytes, int threads, bool trusted) {
  if (!usable(dtype, log_probs, shape, targets, trusted)) return static_cast<int>(Outcome::no_memory);
  const std::int64_t items = std::get<1>(shape), cells = std::get<0>(shape) * items;
  require_memory(classes, cells, sizeof(std::int64_t));
  require_memory(states, cells, sizeof(std::int64_t));
  require_memory(scores, cells, size_of(dtype));
  require_memory(nll, items, sizeof(double));
  const Kernels& kernels = chosen_kernels();
  std::vector<std::int64_t> offsets(static_cast<std::size_t>(std::get<1>(shape)));
  Batch batch = batch_of(dtype, log_probs, shape, strides, targets, offsets);
  batch.nll = pointer<double>(nll);
  batch.path = {pointer<std::int64_t>(classes), pointer<std::int64_t>(states), pointer<void>(scores), checkpoint_bytes};
  const nb::gil_scoped_release release;
  if (!locate_targets(batch, storage_of(targets), offsets.data())) return static_cast<int>(Outcome::invalid);
  run(kernels, batch, threads);
  return static_cast<int>(Outcome::done);
}

// The functions on graphs: arrays as addresses, (classes, sources, offsets, initial, finals) of a graph together.
using GraphArrays = std::tuple<std::uintptr_t, std::uintptr_t, std::uintptr_t, std::uintptr_t, std::uintptr_t>;

GraphView graph_view(const GraphArrays& arrays, std::int64_t states, std::int64_t final_count) {
  const auto& [classes, sources, offsets, initial, finals] = arrays;
  constexpr std::size_t integer = sizeof(std::int64_t);
  require_memory(classes, states, integer);
  require_memory(sources, states, integer);
  require_memory(offsets, states + 1, integer);
  require_memory(initial, states, sizeof(bool));
  require_memory(finals, final_count, integer);
  return {states,
          pointer<const std::int64_t>(classes),
          pointer<const std::int64_t>(sources),
          pointer<const std::int64_t>(offsets),
          pointer<const bool>(initial),
          pointer<const std::int64_t>(finals),
          final_count};
}

GraphEmissions graph_emissions(std::uintptr_t values, std::int64_t frames, std::int64_t columns) {
  require_memory(values, frames * columns, sizeof(double));
  return {pointer<const double>(values), frames, columns};
}

std::int64_t best_paths_of_graph(std::uintptr_t emissions, std::int64_t frames, std::int64_t columns,
                                 const GraphArrays& graph, std::int64_t states, std::int64_t final_count,
                                 std::int64_t k, std::uintptr_t paths, std::uintptr_t totals) {
  const GraphView view = graph_view(graph, states, final_count);
  const GraphEmissions table = graph_emissions(emissions, frames, columns);
  require_memory(paths, k * frames, sizeof(std::int64_t));
  require_memory(totals, k, sizeof(double));
  const nb::gil_scoped_release release;
  return best_graph_paths(view, table, k, pointer<std::int64_t>(paths), pointer<double>(totals));
}

double samples_of_graph(std::uintptr_t emissions, std::int64_t frames, std::int64_t columns, const GraphArrays& graph,
                        std::int64_t states, std::int64_t final_count, std::uintptr_t uniforms, std::int64_t count,
                        std::uintptr_t paths) {
  const GraphView view = graph_view(graph, states, final_count);
  const GraphEmissions table = graph_emissions(emissions, frames, columns);
  require_memory(uniforms, count * frames, sizeof(double));
  require_memory(paths, count * frames, sizeof(std::int64_t));
  const nb::gil_scoped_release release;
  return sample_graph_paths(view, table, pointer<const double>(uniforms), count, pointer<std::int64_t>(paths));
}

double posteriors_of_graph(std::uintptr_t emissions, std::int64_t frames, std::int64_t columns,
                           const GraphArrays& graph, std::int64_t states, std::int64_t final_count,
                           std::uintptr_t occupancy) {
  const GraphView view = graph_view(graph, states, final_count);
  const GraphEmissions table = graph_emissions(emissions, frames, columns);
  require_memory(occupancy, frames * states, sizeof(double));
  const nb::gil_scoped_release release;
  return graph_posteriors(view, table, pointer<double>(occupancy));
}

std::vector<std::string> simd_levels() {
  std::vector<std::string> names;
  for (const Kernels* kernels : available_kernels()) names.emplace_back(kernels->name);
  return names;
}

}  // namespace

NB_MODULE(_core, m) {
  m.doc() = "The C++ core of ctckit: pointers in, numbers out. Use ctckit.ctc_loss and its kin instead.";
  m.def("loss", &loss, nb::arg("dtype"), nb::arg("emissions"), nb::arg("shape"), nb::arg("strides"), nb::arg("targets"),
        nb::arg("logits"), nb::arg("reduction"), nb::arg("zero_infinity"), nb::arg("mean_weights"), nb::arg("result"),
        nb::arg("result_is_double"), nb::arg("output"), nb::arg("out"), nb::arg("out_strides"),
        nb::arg("state_occupancy"), nb::arg("state_width"), nb::arg("path_states"), nb::arg("path_occupancy"),
        nb::arg("threads"), nb::arg("trusted"));
  m.def("is_one", &is_one, nb::arg("number"), nb::arg("is_double"));
  m.def("buffer", &buffer, nb::arg("bytes"));
  m.def("release_memory", &Buffer::release_kept);
  m.def("fill_memory", &Buffer::fill_with, nb::arg("byte"));
  m.def("best_path", &best_path, nb::arg("dtype"), nb::arg("log_probs"), nb::arg("shape"), nb::arg("strides"),
        nb::arg("targets"), nb::arg("classes"), nb::arg("states"), nb::arg("scores"), nb::arg("nll"),
        nb::arg("checkpoint_bytes"), nb::arg("threads"), nb::arg("trusted"));
  m.def("best_graph_paths", &best_paths_of_graph, nb::arg("emissions"), nb::arg("frames"), nb::arg("columns"),
        nb::arg("graph"), nb::arg("states"), nb::arg("final_count"), nb::arg("k"), nb::arg("paths"), nb::arg("totals"));
  m.def("sample_graph_paths", &samples_of_graph, nb::arg("emissions"), nb::arg("frames"), nb::arg("columns"),
        nb::arg("graph"), nb::arg("states"), nb::arg("final_count"), nb::arg("uniforms"), nb::arg("count"),
        nb::arg("paths"));
  m.def("graph_posteriors", &posteriors_of_graph, nb::arg("emissions"), nb::arg("frames"), nb::arg("columns"),
        nb::arg("graph"), nb::arg("states"), nb::arg("final_count"), nb::arg("occupancy"));
  m.def("simd_levels", &simd_levels);
}
