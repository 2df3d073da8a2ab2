// What the files of bindings share. Arrays come as addresses, and strides in elements: converting arrays costs more
// than the loss of a small batch. src/ctckit/backends/cpu.py is the only caller and keeps the memory alive during a
// call.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <tuple>

#include "core.hpp"

namespace ctckit {

using Triple = std::tuple<std::int64_t, std::int64_t, std::int64_t>;

template <class T>
T* pointer(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

inline Strides strides_of(const Triple& strides) {
  return {std::get<0>(strides), std::get<1>(strides), std::get<2>(strides)};
}

std::size_t size_of(DType dtype);

// For memory that cpu.py has checked or allocated: only a mistake there can make it unusable.
void require_memory(std::uintptr_t address, std::int64_t count, std::size_t size);

// The instruction set that CTCKIT_SIMD names, or the best. Reading the environment in Python takes longer.
const Kernels& chosen_kernels();

void define_decoding(nanobind::module_& m);  // decoding/bindings.cpp
void define_language(nanobind::module_& m);  // language/bindings.cpp

}  // namespace ctckit
