// The entry points of one instruction set. Included once by each kernels_*.cpp, which sets CTCKIT_ISA and
// CTCKIT_ISA_TITLE. No standard containers here: code instantiated in a wide file must not be shared with narrow ones.
#include "alignment/best_path.hpp"
#include "loss/item.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

template <template <class> class Task, class Use>
void with_task(const Batch& batch, std::int64_t n, Plan plan, Arena& arena, Use use) {
  switch (batch.dtype) {
    case DType::float16: {
      Task<Float16> task(batch, n, plan, arena);
      return use(task);
    }
    case DType::bfloat16: {
      Task<BFloat16> task(batch, n, plan, arena);
      return use(task);
    }
    case DType::float32: {
      Task<float> task(batch, n, plan, arena);
      return use(task);
    }
    case DType::float64: {
      Task<double> task(batch, n, plan, arena);
      return use(task);
    }
  }
}

template <class Use>
void with_item(const Batch& batch, std::int64_t n, Plan plan, Arena& arena, Use use) {
  if (batch.path.classes != nullptr) {
    with_task<BestPath>(batch, n, plan, arena, use);
  } else {
    with_task<Item>(batch, n, plan, arena, use);
  }
}

std::size_t scratch_bytes(const Batch& batch, std::int64_t n, Plan plan) {
  Arena arena(nullptr, 0);
  with_item(batch, n, plan, arena, [](auto&) {});
  return arena.used();
}

bool run_item(const Batch& batch, std::int64_t n, Plan plan, std::byte* scratch, std::size_t bytes) {
  Arena arena(scratch, bytes);
  bool done = true;
  with_item(batch, n, plan, arena, [&](auto& item) { done = item.run(); });
  return done;
}

}  // namespace

extern const Kernels kernels;
const Kernels kernels = {CTCKIT_ISA_TITLE, scratch_bytes, run_item};

}  // namespace ctckit::CTCKIT_ISA
