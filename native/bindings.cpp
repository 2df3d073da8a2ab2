// The Python module ctckit._core. The only file that knows of Python, and of how little it takes to be called: pointers
// as integers, strides in elements. ctckit/backends/cpu.py is its only caller and keeps the memory alive.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "core.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace nb = nanobind;
using namespace ctckit;

namespace {

using Triple = std::tuple<std::int64_t, std::int64_t, std::int64_t>;

template <class T>
T* pointer(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

Strides strides_of(const Triple& strides) {
  return {std::get<0>(strides), std::get<1>(strides), std::get<2>(strides)};
}

// Returns the reduced loss, or nothing if a length or a label is out of bounds (then nothing has been computed).
nb::object loss(int dtype, std::uintptr_t emissions, const Triple& shape, const Triple& strides, std::uintptr_t labels,
                std::int64_t labels_size, std::int64_t max_target, bool concatenated, std::uintptr_t offsets,
                std::uintptr_t input_lengths, std::uintptr_t target_lengths, std::int64_t blank, bool logits,
                int reduction, bool zero_infinity, bool mean_weights, std::uintptr_t nll, int output,
                std::uintptr_t out, const Triple& out_strides, std::uintptr_t state_occupancy,
                std::int64_t state_width, int threads, const std::string& simd) {
  const Kernels& kernels = simd.empty() ? *available_kernels().front() : kernels_named(simd);
  const Batch batch{
      .dtype = static_cast<DType>(dtype),
      .emissions = pointer<const void>(emissions),
      .strides = strides_of(strides),
      .frames = std::get<0>(shape),
      .items = std::get<1>(shape),
      .classes = std::get<2>(shape),
      .labels = pointer<const std::int64_t>(labels),
      .offsets = pointer<const std::int64_t>(offsets),
      .input_lengths = pointer<const std::int64_t>(input_lengths),
      .target_lengths = pointer<const std::int64_t>(target_lengths),
      .blank = blank,
      .logits = logits,
      .mean_weights = mean_weights,
      .nll = pointer<double>(nll),
      .output = static_cast<Output>(output),
      .out = pointer<void>(out),
      .out_strides = strides_of(out_strides),
      .state_occupancy = pointer<void>(state_occupancy),
      .state_width = state_width,
  };
  std::optional<double> reduced;
  {
    const nb::gil_scoped_release release;
    if (is_valid(batch, {labels_size, max_target, concatenated})) {
      run(kernels, batch, threads);
      reduced = reduce(batch, static_cast<Reduction>(reduction), zero_infinity);
    }
  }
  return reduced ? nb::cast(*reduced) : nb::none();
}

// Asks for large pages for memory that is about to be written for the first time: a fresh tensor of hundreds of
// megabytes otherwise costs more in page faults than the loss itself.
void advise_huge_pages([[maybe_unused]] std::uintptr_t address, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const std::uintptr_t begin = (address + page - 1) / page * page, end = (address + bytes) / page * page;
  if (begin < end) madvise(pointer<void>(begin), end - begin, MADV_HUGEPAGE);  // advice: a refusal does no harm
#endif
}

std::vector<std::string> simd_levels() {
  std::vector<std::string> names;
  for (const Kernels* kernels : available_kernels()) names.emplace_back(kernels->name);
  return names;
}

}  // namespace

NB_MODULE(_core, m) {
  m.doc() = "The C++ core of ctckit: pointers in, numbers out. Use ctckit.ctc_loss and its kin instead.";
  m.def("loss", &loss, nb::arg("dtype"), nb::arg("emissions"), nb::arg("shape"), nb::arg("strides"), nb::arg("labels"),
        nb::arg("labels_size"), nb::arg("max_target"), nb::arg("concatenated"), nb::arg("offsets"),
        nb::arg("input_lengths"), nb::arg("target_lengths"), nb::arg("blank"), nb::arg("logits"), nb::arg("reduction"),
        nb::arg("zero_infinity"), nb::arg("mean_weights"), nb::arg("nll"), nb::arg("output"), nb::arg("out"),
        nb::arg("out_strides"), nb::arg("state_occupancy"), nb::arg("state_width"), nb::arg("threads"),
        nb::arg("simd"));
  m.def("advise_huge_pages", &advise_huge_pages, nb::arg("address"), nb::arg("bytes"));
  m.def("simd_levels", &simd_levels);
}
