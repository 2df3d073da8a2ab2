#include "core.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/processor.hpp"
#include "decoding/kernels.hpp"

namespace ctckit {

namespace baseline {
extern const Kernels kernels;
extern const DecodingKernels decoding_kernels;
}  // namespace baseline
#if defined(CTCKIT_WITH_AVX2)
namespace avx2 {
extern const Kernels kernels;
extern const DecodingKernels decoding_kernels;
}  // namespace avx2
#endif
#if defined(CTCKIT_WITH_AVX512)
namespace avx512 {
extern const Kernels kernels;
extern const DecodingKernels decoding_kernels;
}  // namespace avx512
#endif

std::span<const Kernels* const> available_kernels() {
  static const std::vector<const Kernels*> available = [] {
    std::vector<const Kernels*> found;
#if defined(CTCKIT_WITH_AVX512)
    if (x86_level() >= 4) found.push_back(&avx512::kernels);
#endif
#if defined(CTCKIT_WITH_AVX2)
    if (x86_level() >= 3) found.push_back(&avx2::kernels);
#endif
    found.push_back(&baseline::kernels);
    return found;
  }();
  return available;
}

const Kernels& kernels_named(std::string_view name) {
  for (const Kernels* kernels : available_kernels())
    if (name == kernels->name) return *kernels;
  throw std::invalid_argument("no kernels '" + std::string(name) + "' that this processor can run");
}

const DecodingKernels& decoding_kernels_named(std::string_view name) {
#if defined(CTCKIT_WITH_AVX512)
  if (name == avx512::kernels.name) return avx512::decoding_kernels;
#endif
#if defined(CTCKIT_WITH_AVX2)
  if (name == avx2::kernels.name) return avx2::decoding_kernels;
#endif
  return baseline::decoding_kernels;
}

bool locate_targets(const Batch& batch, const LabelStorage& storage, std::int64_t* offsets) {
  if (batch.blank < 0 || batch.blank >= batch.classes) return false;
  if (!storage.concatenated && batch.items > 0 && storage.max_target != storage.size / batch.items) return false;
  std::int64_t end = 0;  // of the last target
  for (std::int64_t n = 0; n < batch.items; ++n) {
    const std::int64_t frames = batch.input_lengths[n], labels = batch.target_lengths[n];
    const std::int64_t offset = offsets[n] = storage.concatenated ? end : n * storage.max_target;
    if (frames < 0 || frames > batch.frames || labels < 0 || labels > storage.max_target) return false;
    if (labels > storage.size - offset) return false;
    end = offset + labels;
    for (std::int64_t s = 0; s < labels; ++s) {
      const std::int64_t label = batch.labels[offset + s];
      if (label < 0 || label >= batch.classes || label == batch.blank) return false;
    }
  }
  return !storage.concatenated || end == storage.size;
}

double reduce(const Batch& batch, const LossOptions& options) {
  const bool mean = options.reduction == Reduction::mean;
  double sum = 0;
  for (std::int64_t n = 0; n < batch.items; ++n) {
    double& nll = batch.nll[n];
    if (options.zero_infinity && std::isinf(nll)) nll = 0;
    const auto labels = static_cast<double>(std::max<std::int64_t>(batch.target_lengths[n], 1));
    sum += mean ? nll / labels : nll;
  }
  return mean ? sum / static_cast<double>(batch.items) : sum;
}

}  // namespace ctckit
