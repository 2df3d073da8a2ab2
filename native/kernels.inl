// The entry points of one instruction set. Included once by each kernels_*.cpp, which sets CTCKIT_ISA and
// CTCKIT_ISA_TITLE. No standard containers here: code instantiated in a wide file must not be shared with narrow ones.
#include "item.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

template <class Use>
void with_item(const Batch& batch, std::int64_t n, Arena& arena, Use use) {
  switch (batch.dtype) {
    case DType::float16: {
      Item<Float16> item(batch, n, arena);
      return use(item);
    }
    case DType::bfloat16: {
      Item<BFloat16> item(batch, n, arena);
      return use(item);
    }
    case DType::float32: {
      Item<float> item(batch, n, arena);
      return use(item);
    }
    case DType::float64: {
      Item<double> item(batch, n, arena);
      return use(item);
    }
  }
}

std::size_t scratch_bytes(const Batch& batch, std::int64_t n) {
  Arena arena(nullptr);
  with_item(batch, n, arena, [](auto&) {});
  return arena.used();
}

void run_item(const Batch& batch, std::int64_t n, std::byte* scratch) {
  Arena arena(scratch);
  with_item(batch, n, arena, [](auto& item) { item.run(); });
}

}  // namespace

extern const Kernels kernels;
const Kernels kernels = {CTCKIT_ISA_TITLE, scratch_bytes, run_item};

}  // namespace ctckit::CTCKIT_ISA
