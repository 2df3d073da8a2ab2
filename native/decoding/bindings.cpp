// Decoding in the Python module ctckit._core. src/ctckit/backends/cpu.py and src/ctckit/decoding are the only callers.
#include "bindings.hpp"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "decoding/decode.hpp"
#include "decoding/python_scorer.hpp"
#include "decoding/token_bias.hpp"

namespace nb = nanobind;

namespace ctckit {
namespace {

// Scorers of a call: those of the core as they are, others through Python.
class Scorers {
 public:
  explicit Scorers(const nb::sequence& objects) {
    for (const nb::handle object : objects) {
      if (nb::isinstance<Scorer>(object)) {
        pointers.push_back(nb::cast<Scorer*>(object));
        kept_.push_back(nb::borrow(object));
      } else {
        python_.push_back(std::make_unique<PythonScorer>(nb::borrow(object)));
        pointers.push_back(python_.back().get());
      }
    }
  }
  bool in_python() const { return !python_.empty(); }

  std::vector<Scorer*> pointers;

 private:
  std::vector<nb::object> kept_;
  std::vector<std::unique_ptr<PythonScorer>> python_;
};

Batch batch_of(int dtype, std::uintptr_t emissions, const Triple& shape, const Triple& strides,
               std::uintptr_t input_lengths, std::int64_t blank, bool logits) {
  Batch batch{};
  batch.dtype = static_cast<DType>(dtype);
  batch.emissions = pointer<const void>(emissions);
  batch.strides = strides_of(strides);
  std::tie(batch.frames, batch.items, batch.classes) = shape;
  batch.input_lengths = pointer<const std::int64_t>(input_lengths);
  batch.blank = blank;
  batch.logits = logits;
  require_memory(emissions, batch.frames * batch.items * batch.classes, size_of(batch.dtype));
  require_memory(input_lengths, batch.items, sizeof(std::int64_t));
  for (std::int64_t n = 0; n < batch.items; ++n)
    if (batch.input_lengths[n] < 0 || batch.input_lengths[n] > batch.frames) throw nb::value_error("a wrong length");
  if (blank < 0 || blank >= batch.classes) throw nb::value_error("the blank is no class");
  return batch;
}

const DecodingKernels& chosen_decoding_kernels() { return decoding_kernels_named(chosen_kernels().name); }

nb::tuple tuple_of(const std::vector<std::int32_t>& classes) {
  nb::tuple made = nb::steal<nb::tuple>(PyTuple_New(static_cast<Py_ssize_t>(classes.size())));
  for (std::size_t k = 0; k < classes.size(); ++k)
    PyTuple_SetItem(made.ptr(), static_cast<Py_ssize_t>(k), PyLong_FromLong(classes[k]));
  return made;
}

// A row per hypothesis: classes, beam score, acoustic score, gains.
nb::list rows_of(const std::vector<DecodedHypothesis>& hypotheses) {
  nb::list rows;
  for (const DecodedHypothesis& hypothesis : hypotheses)
    rows.append(nb::make_tuple(tuple_of(hypothesis.classes), hypothesis.beam_score, hypothesis.acoustic_score,
                               nb::cast(hypothesis.gains)));
  return rows;
}

nb::list beam_search(int dtype, std::uintptr_t emissions, const Triple& shape, const Triple& strides,
                     std::uintptr_t input_lengths, const SearchOptions& search, std::int64_t hypotheses, bool rescore,
                     const nb::sequence& scorers, int threads) {
  const Batch batch = batch_of(dtype, emissions, shape, strides, input_lengths, search.blank, search.logits);
  if (search.classes != batch.classes) throw nb::value_error("the options are for another number of classes");
  const Scorers used(scorers);
  const Kernels& kernels = chosen_kernels();
  const DecodingKernels& decoding = chosen_decoding_kernels();
  std::vector<DecodedItem> items;
  {
    const nb::gil_scoped_release release;
    items =
        decode(batch, {search, hypotheses, rescore}, used.pointers, used.in_python() ? 1 : threads, kernels, decoding);
  }
  nb::list results;
  for (DecodedItem& item : items)
    results.append(nb::make_tuple(nb::cast(std::move(item.beam)), rows_of(item.hypotheses)));
  return results;
}

nb::list greedy_decode(int dtype, std::uintptr_t emissions, const Triple& shape, const Triple& strides,
                       std::uintptr_t input_lengths, std::int64_t blank, bool logits, bool rescore, int threads) {
  const Batch batch = batch_of(dtype, emissions, shape, strides, input_lengths, blank, logits);
  const Kernels& kernels = chosen_kernels();
  const DecodingKernels& decoding = chosen_decoding_kernels();
  std::vector<GreedyItem> items;
  {
    const nb::gil_scoped_release release;
    items = decode_greedily(batch, rescore, threads, kernels, decoding);
  }
  nb::list results;
  for (const GreedyItem& item : items)
    results.append(nb::make_tuple(tuple_of(item.classes), item.path.score, item.acoustic_score,
                                  static_cast<int>(item.path.status), item.path.frame));
  return results;
}

std::tuple<bool, double, double, bool> certify(const FinalBeam& beam, int dtype, std::uintptr_t emissions,
                                               std::int64_t frames, std::int64_t classes,
                                               std::pair<std::int64_t, std::int64_t> strides, std::int64_t blank,
                                               bool logits, const std::vector<double>& exact, double tolerance) {
  const Batch batch = batch_of(dtype, emissions, {frames, 1, classes}, {strides.first, 0, strides.second},
                               reinterpret_cast<std::uintptr_t>(&frames), blank, logits);
  const nb::gil_scoped_release release;
  const Certificate found = beam.certify(batch, 0, exact, tolerance, chosen_kernels(), chosen_decoding_kernels());
  return {found.is_normalised, found.log_total, found.lost, found.is_proved};
}

// A search that is fed piece by piece.
class Stream {
 public:
  Stream(const SearchOptions& options, const nb::sequence& scorers)
      : scorers_(scorers), search_(options, scorers_.pointers) {}

  void push(int dtype, std::uintptr_t emissions, std::int64_t frames, std::pair<std::int64_t, std::int64_t> strides) {
    require_open();
    const SearchOptions& options = search_.state().options;
    const Batch batch = batch_of(dtype, emissions, {frames, 1, options.classes}, {strides.first, 0, strides.second},
                                 reinterpret_cast<std::uintptr_t>(&frames), options.blank, options.logits);
    const DecodingKernels& decoding = chosen_decoding_kernels();
    const nb::gil_scoped_release release;
    if (search_.state().status == SearchStatus::searching) decoding.advance(search_.state(), batch, 0, 0, frames);
  }
  nb::tuple best() const {
    require_open();
    if (search_.state().status != SearchStatus::searching) return nb::make_tuple();
    return tuple_of(search_.classes(0));
  }
  nb::tuple stable() {
    require_open();
    return tuple_of(search_.stable());
  }
  std::size_t count_stable() {
    require_open();
    return search_.stable().size();
  }
  nb::tuple finish(std::int64_t hypotheses) {
    require_open();
    is_finished_ = true;
    std::unique_ptr<FinalBeam> beam;
    std::vector<DecodedHypothesis> found;
    {
      const nb::gil_scoped_release release;
      search_.finish();
      beam = std::make_unique<FinalBeam>(search_);
      found = hypotheses_of(*beam, scorers_.pointers, hypotheses);
    }
    return nb::make_tuple(nb::cast(std::move(beam)), rows_of(found));
  }
  std::int64_t frames() const { return search_.state().frames; }
  int status() const { return static_cast<int>(search_.state().status); }
  std::size_t bytes() const { return search_.bytes(); }

 private:
  void require_open() const {
    if (is_finished_) throw nb::value_error("the stream is finished");
  }

  Scorers scorers_;
  Search search_;
  bool is_finished_ = false;  // its prefixes have been taken
};

}  // namespace

void define_decoding(nb::module_& m) {
  nb::class_<Scorer>(m, "Scorer").def("largest_gain", &Scorer::largest_gain, nb::arg("clazz"));
  nb::class_<TokenBias, Scorer>(m, "TokenBias").def(nb::init<std::vector<double>>(), nb::arg("biases"));
  nb::class_<SearchOptions>(m, "SearchOptions")
      .def(
          "__init__",
          [](SearchOptions* self, std::int64_t classes, std::int32_t blank, std::int32_t width, bool logits,
             double beam_factor, double token_floor, double blank_ceiling) {
            new (self) SearchOptions{classes, blank, width, logits, beam_factor, token_floor, blank_ceiling};
          },
          nb::arg("classes"), nb::arg("blank"), nb::arg("width"), nb::arg("logits"), nb::arg("beam_factor"),
          nb::arg("token_floor"), nb::arg("blank_ceiling"));
  nb::class_<FinalBeam>(m, "FinalBeam")
      .def("__len__", &FinalBeam::size)
      .def_prop_ro("status", [](const FinalBeam& beam) { return static_cast<int>(beam.status()); })
      .def_prop_ro("frames", &FinalBeam::frames)
      .def_prop_ro("log_beam_mass", &FinalBeam::log_beam_mass)
      .def("certify", &certify, nb::arg("dtype"), nb::arg("emissions"), nb::arg("frames"), nb::arg("classes"),
           nb::arg("strides"), nb::arg("blank"), nb::arg("logits"), nb::arg("exact"), nb::arg("tolerance"));
  nb::class_<Stream>(m, "Stream")
      .def(nb::init<const SearchOptions&, const nb::sequence&>(), nb::arg("options"), nb::arg("scorers"))
      .def("push", &Stream::push, nb::arg("dtype"), nb::arg("emissions"), nb::arg("frames"), nb::arg("strides"))
      .def("best", &Stream::best)
      .def("stable", &Stream::stable)
      .def("count_stable", &Stream::count_stable)
      .def("finish", &Stream::finish, nb::arg("hypotheses"))
      .def_prop_ro("frames", &Stream::frames)
      .def_prop_ro("status", &Stream::status)
      .def_prop_ro("bytes", &Stream::bytes);
  m.def("beam_search", &beam_search, nb::arg("dtype"), nb::arg("emissions"), nb::arg("shape"), nb::arg("strides"),
        nb::arg("input_lengths"), nb::arg("options"), nb::arg("hypotheses"), nb::arg("rescore"), nb::arg("scorers"),
        nb::arg("threads"));
  m.def("greedy_decode", &greedy_decode, nb::arg("dtype"), nb::arg("emissions"), nb::arg("shape"), nb::arg("strides"),
        nb::arg("input_lengths"), nb::arg("blank"), nb::arg("logits"), nb::arg("rescore"), nb::arg("threads"));
  // For tests: e^x as the search computes it.
  m.def("exponential", [](double x) { return chosen_decoding_kernels().exponential(x); }, nb::arg("x"));
}

}  // namespace ctckit
