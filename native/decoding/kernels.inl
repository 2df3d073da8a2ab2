// The entry points of decoding of one instruction set. Included once by each decoding/kernels_*.cpp, which sets
// CTCKIT_ISA and CTCKIT_ISA_TITLE. As in native/kernels.inl, no standard containers here.
#include "decoding/frame.hpp"
#include "decoding/greedy.hpp"
#include "decoding/kernels.hpp"
#include "lattice/frames.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

template <class Use>
auto with_rows(const Batch& batch, std::int64_t n, Use use) {
  switch (batch.dtype) {
    case DType::float16:
      return use(FrameRows<Float16>(batch, n));
    case DType::bfloat16:
      return use(FrameRows<BFloat16>(batch, n));
    case DType::float32:
      return use(FrameRows<float>(batch, n));
    default:
      return use(FrameRows<double>(batch, n));
  }
}

void advance(SearchState& state, const Batch& batch, std::int64_t n, std::int64_t begin, std::int64_t end) {
  const StandardMode mode;
  with_rows(batch, n, [&]<class Rows>(const Rows& rows) {
    using Real = typename Rows::Real;
    for (std::int64_t t = begin; t < end; ++t) {
      if (t + 1 < end) rows.prefetch(t + 1);
      const Real* next = nullptr;
      if constexpr (Rows::kNative)
        if (rows.in_place() && t + 1 < end) next = rows.address(t + 1);
      if (!FrameStep<Real>(state, rows.row(t, static_cast<Real*>(state.row)), next).run()) return;
    }
  });
}

GreedyPath greedy(const Batch& batch, std::int64_t n, std::int32_t* classes, void* buffer) {
  const StandardMode mode;
  return with_rows(batch, n, [&](const auto& rows) { return greedy_path(rows, batch, n, classes, buffer); });
}

FrameSums sum_frames(const Batch& batch, std::int64_t n, void* buffer) {
  const StandardMode mode;
  return with_rows(batch, n, [&]<class Rows>(const Rows& rows) {
    using Real = typename Rows::Real;
    FrameSums sums;
    for (std::int64_t t = 0; t < batch.input_lengths[n]; ++t) {
      const Row<Real> row{rows.row(t, static_cast<Real*>(buffer)), batch.classes};
      const double sum = sum_row(row.values, row.classes, 0, [](std::int64_t, F64) {});
      const bool is_known = sum >= kLeastProbability && sum <= kMostProbability;
      add_sum(sums, is_known ? sum : std::numeric_limits<double>::infinity());
    }
    return sums;
  });
}

void gather(const Batch& batch, std::int64_t n, const std::int64_t* classes, std::int64_t count, double* out,
            void* buffer) {
  const StandardMode mode;
  with_rows(batch, n, [&]<class Rows>(const Rows& rows) {
    using Real = typename Rows::Real;
    for (std::int64_t t = 0; t < batch.input_lengths[n]; ++t, out += count) {
      const auto values = rows.values(t);
      for (std::int64_t k = 0; k < count; ++k) out[k] = static_cast<double>(values[classes[k]]);
      if (buffer == nullptr) continue;
      Row<Real> row{rows.row(t, static_cast<Real*>(buffer)), batch.classes};
      if (!(row.shift() > -row.kInfinity)) continue;  // no class is possible
      row.normalise();
      const double log_scale = std::log(row.scale);
      for (std::int64_t k = 0; k < count; ++k) out[k] = (out[k] - row.offset) + log_scale;
    }
  });
}

double exponential_alone(double x) { return exponential_of(x); }

}  // namespace

extern const DecodingKernels decoding_kernels;
const DecodingKernels decoding_kernels = {CTCKIT_ISA_TITLE, advance, greedy, sum_frames, gather, exponential_alone};

}  // namespace ctckit::CTCKIT_ISA
