# Works from a fresh clone; needs Python >= 3.10 with venv, and a C++20 compiler. CMake and Ninja come by themselves.
#
#   make demo      train small networks on handwritten digits, on speech and on text, and see them work
#   make test      run the tests
#   make bench     measure against torch (BENCH_ARGS=...)
#   make docs      build the documentation; warnings are errors
#   make lint      check style, types, spelling and prose; compiles nothing
#   make format    mend what can be mended by itself
#   make sanitize  run the tests of the core under AddressSanitizer and UndefinedBehaviorSanitizer, its threads under
#                  ThreadSanitizer
#   make fuzz      look for inputs that break the core, or the readers of manifests and vocabularies (FUZZ_SECONDS=60)
#   make mutants   count which small faults in the code the tests notice; takes hours (MUTANTS=lattice/pattern: one module)
#   make wheel     build this platform's wheel, install it in an empty environment, and use it there
#   make clean     remove the environment and everything built

PYTHON ?= python3
VENV ?= .venv

# Installed before anything that asks for torch, and pinned: on Linux a plain `torch` brings gigabytes of CUDA packages
# where pip finds no CPU build. To choose the index it comes from: make TORCH='torch==2.13.0 --index-url ...'.
TORCH ?= torch==2.13.0

# What is installed beside ctckit: with `ray` the tests on a local Ray cluster run, too.
EXTRAS ?= demo,bench,align,corpus

FUZZ_SECONDS ?= 60
MUTANTS ?=
CORE_MUTANTS ?=

PYTEST_ARGS ?=
# Tests run on so many processes side by side; 0 runs them in one, for a debugger. A file stays in one process: the
# examples of a page build on those before them.
WORKERS ?= auto
BENCH_ARGS ?=

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
# Directories too: their dates tell of files that went away.
SOURCES := pyproject.toml CMakeLists.txt $(shell find native src -not -path '*/__pycache__*')
CXX_FILES = $(shell find native tests -name '*.cpp' -o -name '*.hpp' -o -name '*.inl')
PROSE = $(wildcard *.md docs/*.md examples/*.md benchmarks/*.md)

.PHONY: demo test bench docs lint format sanitize fuzz fuzz-core fuzz-python mutants mutants-core mutants-python wheel clean

demo: $(VENV)/installed
	@$(PY) examples/digits.py
	@$(PY) examples/speech.py
	@$(PY) examples/neural_lm.py

test: $(VENV)/installed $(VENV)/dev
	@$(PY) -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

bench: $(VENV)/installed
	@$(PY) -m benchmarks $(BENCH_ARGS)

docs: $(VENV)/installed $(VENV)/dev
	@$(PY) -m sphinx -q -W --keep-going -b html docs build/docs
	@echo "docs: build/docs/index.html"

# Checks the files as they are: ctckit is neither compiled nor installed.
lint: $(VENV)/lint
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(VENV)/bin/clang-format --dry-run -Werror $(CXX_FILES)
	@$(VENV)/bin/codespell
	@$(VENV)/bin/proselint check $(PROSE)
	@$(PY) -m mypy

format: $(VENV)/lint
	@$(PY) -m ruff check --fix-only
	@$(PY) -m ruff format
	@$(VENV)/bin/clang-format -i $(CXX_FILES)

# The environment is made in steps, each with a file that remembers when it was done.
$(VENV)/torch: Makefile pyproject.toml
	@echo "== $(VENV): torch"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PIP) install -q --upgrade 'pip>=25.1'
	@$(PIP) install -q $(TORCH)
	@touch $@

$(VENV)/lint: $(VENV)/torch
	@echo "== $(VENV): linters, and the packages whose types mypy reads"
	@$(PIP) install -q --group lint
	@touch $@

$(VENV)/builders: $(VENV)/torch
	@echo "== $(VENV): build tools"
	@$(PIP) install -q --group build
	@touch $@

# No isolation, and a build folder that is kept: only what changed is compiled again.
$(VENV)/installed: $(VENV)/builders $(SOURCES)
	@echo "== $(VENV): ctckit and what the demo needs"
	@$(PIP) install -q --no-build-isolation --config-settings=build-dir=$(VENV)/build \
	  --config-settings=cmake.define.CTCKIT_WERROR=ON '.[$(EXTRAS)]'
	@touch $@

$(VENV)/dev: $(VENV)/torch
	@echo "== $(VENV): tools for tests, checks and documentation"
	@$(PIP) install -q --group dev
	@touch $@

$(VENV)/hunt: $(VENV)/torch
	@echo "== $(VENV): fuzzer and mutation tester"
	@$(PIP) install -q --group hunt
	@touch $@

fuzz: fuzz-core fuzz-python

# libFuzzer comes with Clang. What it finds new is kept in build/fuzz, what fails is written there as crash-...; to run
# one again: build/fuzz/TARGET FILE.
FUZZ_CXX ?= clang++
FUZZ_FLAGS := -std=c++20 -O1 -g -Inative -Wall -Wextra -Werror \
  -fno-math-errno -ffp-contract=fast -ffp-exception-behavior=maytrap \
  -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
  -fno-sanitize=pointer-overflow  # of a buffer that is not needed, rows are computed and not touched: null and so many
FUZZ_SOURCES := $(addprefix native/,core base/schedule base/workers graph/best graph/sum kernels_baseline \
  $(addprefix decoding/,decode final_beam kernels_baseline phrase_scorer prefix_tree search token_scorer word_scorer) \
  $(addprefix language/,arpa kenlm ngram ngram_builder ngram_table word_trie))
ifeq ($(shell uname -m),x86_64)
  FUZZ_SOURCES += native/kernels_avx2 native/decoding/kernels_avx2
  FUZZ_FLAGS += -DCTCKIT_WITH_AVX2
endif
build/fuzz/native/kernels_avx2.o build/fuzz/native/decoding/kernels_avx2.o: FUZZ_FLAGS += -march=x86-64-v3
build/fuzz/native/decoding/kernels_%.o: FUZZ_FLAGS += -ffp-contract=off

build/fuzz/%.o: %.cpp $(shell find native tests/fuzz -name '*.hpp' -o -name '*.inl')
	@mkdir -p $(@D)
	@echo 'int main() {}' | $(FUZZ_CXX) -fsanitize=fuzzer-no-link,address -x c++ - -o /dev/null 2>/dev/null || \
	  { echo "make fuzz needs Clang with libFuzzer: apt-get install clang libclang-rt-dev, or set FUZZ_CXX"; exit 1; }
	@$(FUZZ_CXX) $(FUZZ_FLAGS) -c $< -o $@

FUZZED := boundary knowledge models
$(FUZZED:%=build/fuzz/%): build/fuzz/%: build/fuzz/tests/fuzz/%.o $(FUZZ_SOURCES:%=build/fuzz/%.o)
	@$(FUZZ_CXX) -fsanitize=fuzzer,address,undefined -pthread $^ -o $@

FUZZ_RUN = ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 build/fuzz/$(1) -timeout=60 -rss_limit_mb=4096 \
  -max_total_time=$$(($(FUZZ_SECONDS) / 6)) -len_control=0 -verbosity=0 -print_final_stats=1 \
  -artifact_prefix=build/fuzz/ $(2) build/fuzz/found/$(1) tests/fuzz/corpus/$(1)

fuzz-core:
	@$(MAKE) --no-print-directory -j$(shell getconf _NPROCESSORS_ONLN) $(FUZZED:%=build/fuzz/%)
	@mkdir -p $(FUZZED:%=build/fuzz/found/%)
	@$(call FUZZ_RUN,boundary,-max_len=1024)
	@$(call FUZZ_RUN,knowledge,-max_len=512)
	@$(call FUZZ_RUN,models,-max_len=2048 -dict=tests/fuzz/models.dict) tests/decoding/kenlm

fuzz-python: $(VENV)/installed $(VENV)/dev $(VENV)/hunt
	@$(PY) -m tests.fuzz.fuzz_python --seconds $$(($(FUZZ_SECONDS) / 2))

mutants: mutants-core mutants-python

mutants-core: $(VENV)/installed $(VENV)/dev
	@$(PY) -m tests.mutants.mutants_core $(CORE_MUTANTS)

mutants-python: $(VENV)/installed $(VENV)/dev $(VENV)/hunt
	@$(PY) -m tests.mutants.mutants_python $(MUTANTS)

# Only the core is instrumented, so the runtime has to be loaded before Python; libstdc++ comes with it, or the runtime
# does not find the functions that throw. Fresh memory is filled with 0xff, a NaN in every floating-point type. A fault
# aborts, so that Python says where it was, and pytest leaves the standard error to the report (--capture=sys).
SANITIZED := build/sanitize/site
# All tests but those that never call the core, or call it only as others do. Of some files tests/tools/sanitizers.py
# takes a third of the cases.
UNSANITIZED := $(addprefix --ignore=tests/,text output page plot corpus cli project reference backends/triton) \
  $(addprefix --ignore=tests/,$(addsuffix .py,$(addprefix lattice/test_,arguments checks no_value_read topology \
    tensor_kinds tensor_layouts tensor_memory) backends/test_nonfinite \
    $(addprefix decoding/test_,adaptive_width arguments emission_sets enumeration knowledge_beam knowledge_errors \
      knowledge_fuzz model_errors results stream_times texts) \
    loss/test_autograd loss/test_changed_in_place loss/test_traces loss/test_torch_suite fuzz/test_fuzz_targets))
# These spend nearly all of their time in the reference, or in other processes.
UNSANITIZED += $(addprefix --deselect=tests/,loss/test_band.py::test_long_targets \
  $(addprefix backends/test_,numerics.py::test_twenty_thousand_frames numerics.py::test_trained_on_ten_thousand_frames \
    threads.py::test_fork threads.py::test_the_process_ends_while_threads_wait))
SANITIZE_TESTS ?= $(UNSANITIZED) tests
RUNTIMES = $(foreach library,libasan.so libubsan.so libstdc++.so.6,$(shell $(CXX) -print-file-name=$(library)))
ASAN := abort_on_error=1:detect_leaks=0:verify_asan_link_order=0:allocator_may_return_null=1
sanitize: $(VENV)/installed $(VENV)/dev
	@rm -rf $(SANITIZED)
	@mkdir -p build/sanitize
	@$(CXX) -std=c++20 -O1 -g -fsanitize=thread -pthread -Wall -Wextra -Wpedantic -Werror -Inative \
	  tests/native/workers.cpp native/base/workers.cpp -o build/sanitize/workers
	@TSAN_OPTIONS=halt_on_error=1 build/sanitize/workers
	@$(PIP) install -q --no-build-isolation --no-deps --target $(SANITIZED) \
	  --config-settings=build-dir=build/sanitize/cmake --config-settings=cmake.build-type=RelWithDebInfo \
	  --config-settings=cmake.define.CTCKIT_SANITIZE=address,undefined \
	  "--config-settings=cmake.define.CMAKE_CXX_FLAGS_RELWITHDEBINFO=-O2 -g1 -DNDEBUG" .
	@nm -D $(SANITIZED)/ctckit/_core*.so | grep -q __asan_report || { echo 'the core is not instrumented'; exit 1; }
	@PYTHONPATH=$(SANITIZED) LD_PRELOAD="$(RUNTIMES)" \
	  ASAN_OPTIONS=$(ASAN):malloc_fill_byte=255:max_malloc_fill_size=16777216 \
	  UBSAN_OPTIONS=abort_on_error=1:print_stacktrace=1 CTCKIT_SANITIZED=1 \
	  $(PY) -m pytest -q -n $(WORKERS) --dist loadfile --capture=sys -p no:cacheprovider $(SANITIZE_TESTS)

# As a user gets it: built by pip in isolation, away from the repository's files.
wheel: $(VENV)/torch
	@rm -rf build/wheel
	@$(PIP) wheel -q --no-deps --wheel-dir build/wheel .
	@$(PYTHON) -m venv build/wheel/empty
	@build/wheel/empty/bin/python -m pip install -q $(TORCH)
	@build/wheel/empty/bin/python -m pip install -q build/wheel/*.whl
	@cd build/wheel && empty/bin/python -I ../../tests/project/wheel_smoke.py

clean:
	rm -rf $(VENV) build
