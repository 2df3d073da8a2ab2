// Language models in the Python module ctckit._core. src/ctckit/decoding/ngram.py is the only caller.
#include "bindings.hpp"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "decoding/continued_scorer.hpp"
#include "decoding/phrase_scorer.hpp"
#include "decoding/token_scorer.hpp"
#include "decoding/word_scorer.hpp"
#include "language/arpa.hpp"
#include "language/kenlm.hpp"
#include "language/ngram.hpp"

namespace nb = nanobind;

namespace ctckit {
namespace {

using Bytes = nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

std::span<const std::byte> bytes_of(const Bytes& array) {
  return {reinterpret_cast<const std::byte*>(array.data()), array.shape(0)};
}

// A model, and the memory of its file: an array, which may be a file that is mapped.
struct Model {
  explicit Model(Bytes array) : memory(std::move(array)) {
    const std::span<const std::byte> bytes = bytes_of(memory);
    const std::string_view start(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (start.starts_with(KenlmModel::kMagic)) {
      model = std::make_unique<KenlmModel>(bytes);
    } else {
      model = std::make_unique<NGram>(bytes);
    }
  }
  Bytes memory;
  std::unique_ptr<LanguageModel> model;

  std::int32_t checked_state(std::int64_t state) const {
    if (!model->has_state(state)) throw nb::value_error("no state");
    return static_cast<std::int32_t>(state);
  }
  std::int32_t checked_word(std::int64_t word) const {
    if (word < 0 || word >= model->facts().words) throw nb::value_error("no word");
    return static_cast<std::int32_t>(word);
  }
};

using ModelPointer = std::shared_ptr<const LanguageModel>;

// Keeps the model's memory, too.
ModelPointer pointer_to(const std::shared_ptr<Model>& model) {
  return model ? ModelPointer(model, model->model.get()) : nullptr;
}

nb::object image_of(std::vector<std::byte> image) {
  auto kept = std::make_unique<std::vector<std::byte>>(std::move(image));
  auto* const data = reinterpret_cast<std::uint8_t*>(kept->data());
  const std::size_t size = kept->size();
  const nb::capsule owner(kept.release(), [](void* p) noexcept { delete static_cast<std::vector<std::byte>*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, std::uint8_t, nb::ndim<1>>(data, {size}, owner));
}

// The log-probability of words that come one after the other, in nats.
double score(const LanguageModel& model, std::span<const std::string_view> words, bool bos, bool eos) {
  constexpr std::size_t most = 64;  // words for which memory is read ahead
  const LanguageModel::Facts& facts = model.facts();
  std::int32_t state = LanguageModel::kEmpty;
  if (bos && facts.begin >= 0) state = model.step(state, facts.begin).next;
  double total = 0;
  const auto add = [&](std::int32_t number) {
    if (number < 0) number = facts.unknown;
    const LanguageModel::Step step =
        number < 0 ? LanguageModel::Step{-std::numeric_limits<double>::infinity(), 0} : model.step(state, number);
    total += step.log_probability;
    state = step.next;
  };
  std::array<std::int32_t, most> numbers;
  for (std::size_t first = 0; first < words.size(); first += most) {
    const std::span<const std::string_view> part = words.subspan(first, std::min(most, words.size() - first));
    model.find_all(part, numbers);
    model.prefetch(std::span(numbers).first(part.size()));
    for (std::size_t k = 0; k < part.size(); ++k) add(numbers[k]);
  }
  if (eos && facts.end < 0) return -std::numeric_limits<double>::infinity();
  if (eos) add(facts.end);
  return total;
}

double score_words(const Model& self, const nb::sequence& words, bool bos, bool eos) {
  std::vector<std::string_view> views;
  for (const nb::handle word : words) {
    Py_ssize_t size = 0;
    const char* const text = PyUnicode_AsUTF8AndSize(word.ptr(), &size);
    if (text == nullptr) PyErr_Clear();  // a surrogate alone is in no word
    views.emplace_back(text == nullptr ? "" : text, static_cast<std::size_t>(size));
  }
  return score(*self.model, views, bos, eos);
}

// Of words between white space in ASCII.
double score_text(const Model& self, std::string_view text, bool bos, bool eos) {
  const auto is_space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r') || (c >= '\x1c' && c <= '\x1f'); };
  std::vector<std::string_view> views;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    while (end < text.size() && !is_space(text[end])) ++end;
    if (end > at) views.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return score(*self.model, views, bos, eos);
}

}  // namespace

void define_language(nb::module_& m) {
  nb::class_<ArpaReader>(m, "ArpaReader")
      .def(nb::init<>())
      .def(
          "feed",
          [](ArpaReader& reader, const nb::bytes& bytes) {
            const std::string_view view(bytes.c_str(), bytes.size());
            const nb::gil_scoped_release release;
            reader.feed(view);
          },
          nb::arg("bytes"))
      .def("finish", [](ArpaReader& reader) {
        std::vector<std::byte> image;
        {
          const nb::gil_scoped_release release;
          image = reader.finish();
        }
        return image_of(std::move(image));
      });
  using Numbers = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
  using Roles = nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
  const auto classes_of = [](const Roles& roles) {
    return WordClasses(std::vector<std::uint8_t>(roles.data(), roles.data() + roles.shape(0)));
  };
  const auto span_of = [](const Numbers& array) { return std::span(array.data(), array.shape(0)); };
  nb::class_<WordTrie>(m, "WordTrie")
      .def(
          "__init__",
          [span_of](WordTrie* self, const Numbers& classes, const Numbers& lengths) {
            new (self) WordTrie(span_of(classes), span_of(lengths));
          },
          nb::arg("classes"), nb::arg("lengths"));
  nb::class_<Model>(m, "NGram")
      .def(nb::init<Bytes>(), nb::arg("image"))
      .def_prop_ro("order", [](const Model& self) { return self.model->facts().counts.size(); })
      .def_prop_ro("words", [](const Model& self) { return self.model->facts().words; })
      .def_prop_ro("counts", [](const Model& self) { return self.model->facts().counts; })
      .def_prop_ro("unknown", [](const Model& self) { return self.model->facts().unknown; })
      .def_prop_ro("begin", [](const Model& self) { return self.model->facts().begin; })
      .def_prop_ro("end", [](const Model& self) { return self.model->facts().end; })
      .def(
          "find", [](const Model& self, const std::string& word) { return self.model->find(word); }, nb::arg("word"))
      .def(
          "find_all",
          [](const Model& self, const std::vector<std::string>& words) {
            std::vector<std::int32_t> numbers;
            for (const std::string& word : words) numbers.push_back(self.model->find(word));
            return numbers;
          },
          nb::arg("words"))
      .def("score_words", &score_words, nb::arg("words"), nb::arg("bos"), nb::arg("eos"))
      .def("score_text", &score_text, nb::arg("text"), nb::arg("bos"), nb::arg("eos"))
      .def(
          "word",
          [](const Model& self, std::int64_t number) {
            return nb::bytes(self.model->word(self.checked_word(number)).data(),
                             self.model->word(self.checked_word(number)).size());
          },
          nb::arg("number"))
      .def(
          "step",
          [](const Model& self, std::int64_t state, std::int64_t word) {
            const LanguageModel::Step step = self.model->step(self.checked_state(state), self.checked_word(word));
            return std::pair(step.log_probability, step.next);
          },
          nb::arg("state"), nb::arg("word"));
  nb::class_<ContinuedScorer, Scorer>(m, "ContinuedScorer");
  nb::class_<WordScorer, Scorer>(m, "WordScorer")
      .def(
          "__init__",
          [span_of, classes_of](WordScorer* self, std::shared_ptr<const WordTrie> trie,
                                const std::shared_ptr<Model>& model, const Numbers& numbers, const Roles& roles,
                                double weight, double bonus, double unknown, bool lookahead, bool sentences,
                                double missing) {
            const auto view = span_of(numbers);
            new (self) WordScorer(std::move(trie), pointer_to(model), {view.begin(), view.end()}, classes_of(roles),
                                  {weight, bonus, unknown, lookahead, sentences, missing});
          },
          nb::arg("trie"), nb::arg("model").none(), nb::arg("numbers"), nb::arg("roles"), nb::arg("weight"),
          nb::arg("bonus"), nb::arg("unknown"), nb::arg("lookahead"), nb::arg("sentences") = true,
          nb::arg("missing") = 0.0)
      .def(
          "after",
          [](WordScorer& self, std::int32_t context) {
            if (!self.has_context(context)) throw nb::value_error("no state of the model");
            return std::make_unique<ContinuedScorer>(self, WordScorer::state_in(context));
          },
          nb::arg("context"), nb::keep_alive<0, 1>());
  nb::class_<TokenScorer, Scorer>(m, "TokenScorer")
      .def(
          "__init__",
          [span_of](TokenScorer* self, const std::shared_ptr<Model>& model, const Numbers& numbers, double weight,
                    double bonus, double unknown) {
            const auto view = span_of(numbers);
            new (self) TokenScorer(pointer_to(model), {view.begin(), view.end()}, weight, bonus, unknown);
          },
          nb::arg("model"), nb::arg("numbers"), nb::arg("weight"), nb::arg("bonus"), nb::arg("unknown"));
  nb::class_<PhraseScorer, Scorer>(m, "PhraseScorer")
      .def(
          "__init__",
          [span_of, classes_of](PhraseScorer* self, const Numbers& symbols, const Numbers& lengths,
                                const std::vector<double>& weights, const Roles& roles) {
            new (self) PhraseScorer(span_of(symbols), span_of(lengths), weights, classes_of(roles));
          },
          nb::arg("symbols"), nb::arg("lengths"), nb::arg("weights"), nb::arg("roles"));
}

}  // namespace ctckit
