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
#include <string>
#include <tuple>
#include <vector>

#include "buffer.hpp"
#include "core.hpp"
#include "graph.hpp"

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

// Writes the loss, one number or, without reduction, one per item. Returns whether all lengths and labels are within
// bounds; if not, nothing has been computed.
bool loss(int dtype, std::uintptr_t emissions, const Triple& shape, const Triple& strides, const Targets& targets,
          bool logits, int reduction, bool zero_infinity, bool mean_weights, std::uintptr_t result,
          bool result_is_double, int output, std::uintptr_t out, const Triple& out_strides,
          std::uintptr_t state_occupancy, std::int64_t state_width, std::uintptr_t path_states,
          std::uintptr_t path_occupancy, int threads) {
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
  if (!locate_targets(batch, storage_of(targets), offsets.data())) return false;
  run(kernels, batch, threads);
  if (static_cast<Reduction>(reduction) != Reduction::none || zero_infinity) {
    const double reduced = reduce(batch, static_cast<Reduction>(reduction), zero_infinity);
    if (static_cast<Reduction>(reduction) != Reduction::none) nll.assign(1, reduced);
  }
  if (result == 0) return true;
  if (result_is_double) {
    std::copy(nll.begin(), nll.end(), pointer<double>(result));
  } else {
    std::transform(nll.begin(), nll.end(), pointer<float>(result), [](double x) { return static_cast<float>(x); });
  }
  return true;
}

bool is_one(std::uintptr_t number, bool is_double) {
  return is_double ? *pointer<const double>(number) == 1 : *pointer<const float>(number) == 1;
}

// Memory for a large result, as an array of bytes; kept for the next one when the last tensor over it is gone.
nb::ndarray<nb::numpy, std::uint8_t, nb::ndim<1>> buffer(std::size_t bytes) {
  Buffer* const buffer = Buffer::take(bytes).release();
  const nb::capsule owner(
      buffer, [](void* p) noexcept { Buffer::give_back(std::unique_ptr<Buffer>(static_cast<Buffer*>(p))); });
  return {buffer->data(), {bytes}, owner};
}

// Returns whether all lengths and labels are within bounds; if not, nothing has been computed.
bool best_path(int dtype, std::uintptr_t log_probs, const Triple& shape, const Triple& strides, const Targets& targets,
               std::uintptr_t classes, std::uintptr_t states, std::uintptr_t scores, std::uintptr_t nll,
               std::int64_t checkpoint_bytes, int threads) {
  const Kernels& kernels = chosen_kernels();
  std::vector<std::int64_t> offsets(static_cast<std::size_t>(std::get<1>(shape)));
  Batch batch = batch_of(dtype, log_probs, shape, strides, targets, offsets);
  batch.nll = pointer<double>(nll);
  batch.path = {pointer<std::int64_t>(classes), pointer<std::int64_t>(states), pointer<void>(scores), checkpoint_bytes};
  const nb::gil_scoped_release release;
  const bool valid = locate_targets(batch, storage_of(targets), offsets.data());
  if (valid) run(kernels, batch, threads);
  return valid;
}

// The functions on graphs: arrays as addresses, (classes, sources, offsets, initial, finals) of a graph together.
using GraphArrays = std::tuple<std::uintptr_t, std::uintptr_t, std::uintptr_t, std::uintptr_t, std::uintptr_t>;

GraphView graph_view(const GraphArrays& arrays, std::int64_t states, std::int64_t final_count) {
  const auto& [classes, sources, offsets, initial, finals] = arrays;
  return {states,
          pointer<const std::int64_t>(classes),
          pointer<const std::int64_t>(sources),
          pointer<const std::int64_t>(offsets),
          pointer<const bool>(initial),
          pointer<const std::int64_t>(finals),
          final_count};
}

std::int64_t best_paths_of_graph(std::uintptr_t emissions, std::int64_t frames, std::int64_t columns,
                                 const GraphArrays& graph, std::int64_t states, std::int64_t final_count,
                                 std::int64_t k, std::uintptr_t paths, std::uintptr_t totals) {
  const nb::gil_scoped_release release;
  return best_graph_paths(graph_view(graph, states, final_count), {pointer<const double>(emissions), frames, columns},
                          k, pointer<std::int64_t>(paths), pointer<double>(totals));
}

double samples_of_graph(std::uintptr_t emissions, std::int64_t frames, std::int64_t columns, const GraphArrays& graph,
                        std::int64_t states, std::int64_t final_count, std::uintptr_t uniforms, std::int64_t count,
                        std::uintptr_t paths) {
  const nb::gil_scoped_release release;
  return sample_graph_paths(graph_view(graph, states, final_count), {pointer<const double>(emissions), frames, columns},
                            pointer<const double>(uniforms), count, pointer<std::int64_t>(paths));
}

double posteriors_of_graph(std::uintptr_t emissions, std::int64_t frames, std::int64_t columns,
                           const GraphArrays& graph, std::int64_t states, std::int64_t final_count,
                           std::uintptr_t occupancy) {
  const nb::gil_scoped_release release;
  return graph_posteriors(graph_view(graph, states, final_count), {pointer<const double>(emissions), frames, columns},
                          pointer<double>(occupancy));
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
        nb::arg("threads"));
  m.def("is_one", &is_one, nb::arg("number"), nb::arg("is_double"));
  m.def("buffer", &buffer, nb::arg("bytes"));
  m.def("release_memory", &Buffer::release_kept);
  m.def("fill_memory", &Buffer::fill_with, nb::arg("byte"));
  m.def("best_path", &best_path, nb::arg("dtype"), nb::arg("log_probs"), nb::arg("shape"), nb::arg("strides"),
        nb::arg("targets"), nb::arg("classes"), nb::arg("states"), nb::arg("scores"), nb::arg("nll"),
        nb::arg("checkpoint_bytes"), nb::arg("threads"));
  m.def("best_graph_paths", &best_paths_of_graph, nb::arg("emissions"), nb::arg("frames"), nb::arg("columns"),
        nb::arg("graph"), nb::arg("states"), nb::arg("final_count"), nb::arg("k"), nb::arg("paths"), nb::arg("totals"));
  m.def("sample_graph_paths", &samples_of_graph, nb::arg("emissions"), nb::arg("frames"), nb::arg("columns"),
        nb::arg("graph"), nb::arg("states"), nb::arg("final_count"), nb::arg("uniforms"), nb::arg("count"),
        nb::arg("paths"));
  m.def("graph_posteriors", &posteriors_of_graph, nb::arg("emissions"), nb::arg("frames"), nb::arg("columns"),
        nb::arg("graph"), nb::arg("states"), nb::arg("final_count"), nb::arg("occupancy"));
  m.def("simd_levels", &simd_levels);
}
