// The state of a prefix beam search: all that a frame of emissions changes. src/ctckit/reference/decoding.py defines
// the search.
//
// A beam holds the prefixes with the largest masses, best first. Masses are probabilities, in double, on one scale: all
// are multiples of 2^exponent, chosen so that the best is near 2^700. So no logarithm is taken in the search. What is
// 2^-1770 (1,200 nats) below the best is 0, and leaves the beam.
//
// This file is compiled once. The kernels, compiled per instruction set, read and write `SearchState` alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "decoding/prefix_tree.hpp"
#include "decoding/scorer.hpp"

namespace ctckit {

struct SearchOptions {
  std::int64_t classes;
  std::int32_t blank;
  std::int32_t width;
  bool logits = false;
  double beam_factor = 0;    // a prefix with less than this share of the best one's mass leaves
  double token_floor = 0;    // a class with a smaller probability extends no prefix
  double blank_ceiling = 2;  // in a frame whose blank is more probable, no prefix is extended
};

// Why a search ended early.
enum class SearchStatus : int {
  searching,
  not_finite,  // a NaN or +infinity in the frame
  no_mass,     // no prefix has mass after the frame
};

// The prefixes of a beam, in arrays that are padded to whole vectors.
struct Beam {
  double* masses;  // of the paths that end in blank, [0, capacity), and of all paths, [capacity, 2 capacity); then 0
  double* label;   // of the paths that end in the last class
  std::int32_t* node;   // in the tree
  std::int32_t* last;   // its last class; `classes` for the empty prefix
  std::int32_t* entry;  // where `masses` has the mass that the parent passes on when its child's last class is emitted
  // Only with scorers:
  double* factor;         // e^gain of the step to its last class
  double* rest;           // e^gain of the steps by classes that no scorer has marked
  double* most;           // e^(an upper bound of the gain) of all steps
  std::int64_t* marked;   // bit c % 64 tells whether a scorer has marked class c
  Scorer::State* states;  // of each scorer in turn, `capacity` apart
  // Likewise of each scorer in turn, only with several: the same of its own gains. `each_most` is of marked classes.
  double *each_rest, *each_most;
  std::int64_t* each_marked;
};

// New prefixes that may enter the beam.
struct Candidates {
  double* score;
  double* factor;      // e^gain of the step; only with scorers
  std::int32_t* rank;  // of the parent
  std::int32_t* last;  // class
};

// Mass that leaves by pruning is known exactly where every class of a frame is summed.
struct FrameSums {
  double product = 1;  // of the sums of the frames' probabilities, times 2^-exponent
  std::int64_t exponent = 0;
  double least = 1, largest = 1;  // sum of a frame
};

// The classes of a frame whose probabilities are computed.
enum class Reading {
  all,     // their sums are known
  groups,  // of kGroup classes each, where one of them matters
  named,   // the blank, the last classes of prefixes, and those that may extend a prefix
};
constexpr int kGroup = 8;
constexpr std::int64_t kMostGroupedClasses = 63 * kGroup;  // a bit for each group, and one for the empty prefix

struct SearchState {
  SearchOptions options;
  std::int64_t capacity;  // of the arrays: width and a vector, padded
  std::int32_t size;      // of the beam
  Beam beam, spare, next;
  std::int64_t exponent;   // masses are times 2^-exponent
  double log_offset;       // and times e^-log_offset
  double log_normalisers;  // the sum over frames of the logits' log-normalisers

  Reading reading;
  FrameSums sums;             // with Reading::all
  double least_value;         // with Reading::groups: a class whose emission is not larger extends no prefix
  std::uint64_t last_groups;  // groups with the last class of a prefix, a bit each
  std::uint64_t groups;       // groups whose probabilities are known in this frame
  std::int64_t frames;        // so far
  SearchStatus status;        // the frame that has ended the search is number `frames`

  // Scratch memory.
  double *probability, *last_probability, *source;
  std::int32_t *token, *found_token;
  double *token_probability, *found_probability;
  Candidates candidates, other_candidates;
  std::int64_t most_candidates;
  int index_bits, token_bits;  // of keys, see order.hpp
  double *keys, *new_keys, *merged_keys, *sorting;
  std::int32_t *runs, *order, *moved, *news, *matches;
  std::int32_t *new_parent, *new_class, *new_node;
  // With scorers.
  std::int64_t most_pending;                    // steps that wait for the scorers' gains: how many there is room for,
  std::int32_t *pending_rank, *pending_class;   // from which prefix, by which class,
  std::int32_t *pending_token, *pending_entry;  // its place in `token`, and where `Beam::masses` has what is passed on
  double *pending_gain, *pending_most, *scorer_gain;
  std::int64_t* pending_marked;
  double *pending_each_rest, *pending_each_most;
  GainSummary* summaries;
  std::int64_t* children;  // bit c % 64 tells whether the step by class c leads to a prefix of the beam
  double* token_factor;    // `class_factor` of each class in `token`
  Scorer::State *pending_state, *next_state;
  double* class_factor;  // by class, 0 if not known: e^(an upper bound of the log-gain of a step by it)
  bool whole_frames;     // whether a scorer wants all steps of a frame at once
  void* maxima;          // of groups of classes, in the row's type
  void* row;             // of a frame whose classes are not contiguous floats or doubles

  PrefixTree* tree;
  Scorer* const* scorers;
  int scorer_count;
};

// What a search takes long to get from the system, and may leave to the next one.
struct SearchMemory {
  std::unique_ptr<std::byte[]> block;
  std::size_t block_bytes = 0;
  PrefixTree tree;

  std::size_t bytes() const { return block_bytes + tree.bytes(); }
};

class Search {
 public:
  Search(const SearchOptions& options, std::vector<Scorer*> scorers, SearchMemory memory = {});
  Search(const Search&) = delete;
  Search& operator=(const Search&) = delete;

  SearchState& state() { return state_; }
  const SearchState& state() const { return state_; }

  // Multiplies in the scorers' gains of the end, and ranks the beam again.
  void finish();
  std::vector<std::int32_t> classes(std::int32_t rank) const;
  double log_mass(std::int32_t rank) const;
  double log_beam_mass() const;  // of all prefixes of the beam
  // The longest prefix that all hypotheses share: it can never change.
  const std::vector<std::int32_t>& stable();
  const PrefixTree& tree() const { return memory_.tree; }
  std::size_t bytes() const { return sizeof(Search) + memory_.bytes(); }
  SearchMemory take_memory() { return std::move(memory_); }  // (nothing else is called afterwards)

 private:
  std::vector<Scorer*> scorers_;
  SearchMemory memory_;
  SearchState state_;
};

// Called by the kernels, and compiled once.
// Writes the log-gains of the first `count` pending steps.
void score_steps(SearchState& state, std::int64_t count);
// Writes the states after the steps of new prefixes to `next`: from the places `pending_rank` of the beam, by
// `new_class`, to the places `news`. Their summaries, of all scorers together, are left in `pending_gain` (rest),
// `pending_most` and `pending_marked`; of each, if there are several, in
// `pending_each_rest` and `pending_each_most`, and in `Beam::each_marked`.
void advance_states(SearchState& state, std::int64_t count);
double class_factor(SearchState& state, std::int32_t clazz);
void compact(SearchState& state);

}  // namespace ctckit
