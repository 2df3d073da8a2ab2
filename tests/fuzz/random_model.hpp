// N-gram models of a few words, from a fuzzer's bytes.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "language/ngram_builder.hpp"

namespace ctckit {

// The memory of a model, and the model.
struct OwnedModel : NGram {
  explicit OwnedModel(std::unique_ptr<std::vector<std::byte>> image) : NGram(*image), kept(std::move(image)) {}
  std::unique_ptr<std::vector<std::byte>> kept;
};

inline std::shared_ptr<const NGram> random_model(FuzzedDataProvider& bytes) {
  static constexpr double kLogs[] = {0, -0.1, -1, -3, -20, -std::numeric_limits<double>::infinity()},
                          kWeights[] = {0, 0, -0.5, -4, 0.7};
  NGramBuilder builder;
  builder.begin_order(0);
  const auto add_word = [&](const std::string& word) {
    builder.add_word(word, bytes.PickValueInArray(kLogs), bytes.PickValueInArray(kWeights));
  };
  for (const char* const word : {"<unk>", "<s>", "</s>"})
    if (bytes.ConsumeIntegralInRange(0, 3) > 0) add_word(word);
  const int count = bytes.ConsumeIntegralInRange(1, 5);
  for (int k = 0; k < count; ++k) add_word(std::to_string(k));
  const int order = bytes.ConsumeIntegralInRange(1, 4);
  const auto most = static_cast<std::uint32_t>(builder.words() - 1);
  for (int n = 2; n <= order; ++n) {
    builder.begin_order(0);
    std::set<std::vector<std::uint32_t>> grams;
    const int some = bytes.ConsumeIntegralInRange(0, 5);
    for (int k = 0; k < some; ++k) {
      std::vector<std::uint32_t> gram(static_cast<std::size_t>(n));
      for (std::uint32_t& word : gram) word = bytes.ConsumeIntegralInRange<std::uint32_t>(0, most);
      if (grams.insert(gram).second)
        builder.add(gram, bytes.PickValueInArray(kLogs), n < order ? bytes.PickValueInArray(kWeights) : 0);
    }
  }
  return std::make_shared<OwnedModel>(std::make_unique<std::vector<std::byte>>(builder.build()));
}

}  // namespace ctckit
