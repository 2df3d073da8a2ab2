// Reads n-gram models in the ARPA format, piece by piece: D. Paul's format of the MIT Lincoln Laboratory, as SRILM,
// KenLM and others write it.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "language/ngram_builder.hpp"

namespace ctckit {

// What is wrong, and in which line, from 1; 0 for the file as a whole.
struct ArpaError : std::runtime_error {
  ArpaError(std::uint64_t number, const std::string& message)
      : std::runtime_error(number > 0 ? "line " + std::to_string(number) + ": " + message : message) {}
};

class ArpaReader {
 public:
  // Reads the next bytes. A line may go on in the next piece.
  void feed(std::string_view bytes);
  // After the last piece: returns the model's image.
  std::vector<std::byte> finish();

 private:
  enum class Part { before, counts, ngrams, after };

  void read_line(std::string_view line);
  void read_count(std::string_view line);
  void begin_section(std::string_view line);
  void read_ngram(std::string_view line);
  void end_section();
  std::uint32_t word_of(std::string_view text);
  [[noreturn]] void fail(const std::string& message) const;

  NGramBuilder builder_;
  std::vector<std::uint64_t> counts_;
  Part part_ = Part::before;
  std::uint64_t line_ = 0;
  std::string rest_;       // of the last piece, without a line's end
  std::string beginning_;  // of the last n-gram: all words but the last, as they stand
  std::vector<std::uint32_t> words_;
};

}  // namespace ctckit
