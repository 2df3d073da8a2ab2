#include "language/arpa.hpp"

#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

namespace ctckit {
namespace {

constexpr double kLog10 = 2.302585092994045684;
constexpr double kMostWeight = 1e37;                     // a finite float in nats
constexpr std::size_t kMostLine = std::size_t{1} << 20;  // bytes

bool is_space(char c) { return c == ' ' || c == '\t'; }

// Takes the next field, up to a space or a tab.
std::string_view take_field(std::string_view& line) {
  std::size_t begin = 0;
  while (begin < line.size() && is_space(line[begin])) ++begin;
  std::size_t end = begin;
  while (end < line.size() && !is_space(line[end])) ++end;
  const std::string_view field = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return field;
}

bool read_number(std::string_view field, double& value) {
  if (!field.empty() && field.front() == '+') field.remove_prefix(1);
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  return error == std::errc{} && end == field.data() + field.size() && !std::isnan(value);
}

std::string shown(std::string_view text) {
  constexpr std::size_t most = 60;
  std::string quoted(1, '"');
  quoted.append(text.substr(0, most)).append(text.size() > most ? "..." : "");
  return quoted += '"';
}

}  // namespace

void ArpaReader::fail(const std::string& message) const { throw ArpaError(line_, message); }

void ArpaReader::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto* const end = static_cast<const char*>(std::memchr(bytes.data(), '\n', bytes.size()));
    if (end == nullptr) {
      rest_ += bytes;
      if (rest_.size() > kMostLine) {
        ++line_;
        fail("it has more than a million bytes: this is no ARPA file");
      }
      return;
    }
    const auto size = static_cast<std::size_t>(end - bytes.data());
    if (rest_.empty()) {
      read_line(bytes.substr(0, size));
    } else {
      rest_ += bytes.substr(0, size);
      const std::string line = std::exchange(rest_, {});
      read_line(line);
    }
    bytes.remove_prefix(size + 1);
  }
}

std::vector<std::byte> ArpaReader::finish() {
  if (!rest_.empty()) {
    const std::string line = std::exchange(rest_, {});
    read_line(line);
  }
  line_ = 0;
  if (part_ == Part::before) fail("it has no line \"\\data\\\": this is no ARPA file");
  if (part_ != Part::after) fail("it ends without the line \"\\end\\\": it was cut off");
  try {
    return builder_.build();
  } catch (const std::runtime_error& problem) {
    fail(problem.what());
  }
}

void ArpaReader::read_line(std::string_view line) {
  ++line_;
  if (line_ == 1 && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);  // a byte order mark
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  while (!line.empty() && is_space(line.back())) line.remove_suffix(1);
  switch (part_) {
    case Part::before:
      if (line == "\\data\\") part_ = Part::counts;
      break;
    case Part::counts:
      if (line.starts_with("ngram ")) {
        read_count(line);
      } else if (line.starts_with("\\")) {
        begin_section(line);
      } else if (!line.empty()) {
        fail("it must be a count such as \"ngram 1=5000\", but is " + shown(line));
      }
      break;
    case Part::ngrams:
      if (line.empty()) break;
      if (line[0] == '\\' && (line == "\\end\\" || line.ends_with("-grams:"))) {
        end_section();
        begin_section(line);
      } else {
        read_ngram(line);
      }
      break;
    case Part::after:
      break;  // (other tools' notes)
  }
}

void ArpaReader::read_count(std::string_view line) {
  line.remove_prefix(6);
  const std::string_view all = line;
  std::uint64_t order = 0, count = 0;
  const auto [at, error] = std::from_chars(line.data(), line.data() + line.size(), order);
  line.remove_prefix(static_cast<std::size_t>(at - line.data()));
  while (!line.empty() && (is_space(line.front()) || line.front() == '=')) line.remove_prefix(1);
  const auto [end, count_error] = std::from_chars(line.data(), line.data() + line.size(), count);
  if (error != std::errc{} || count_error != std::errc{} || end != line.data() + line.size())
    fail("it must be a count such as \"ngram 1=5000\", but is " + shown(all));
  if (order != counts_.size() + 1)
    fail("it has the count of " + std::to_string(order) + "-grams, but that of " + std::to_string(counts_.size() + 1) +
         "-grams comes next");
  if (order > NGramHeader::kMostOrders) fail("it has n-grams of more than 16 words");
  counts_.push_back(count);
}

void ArpaReader::begin_section(std::string_view line) {
  const int next = builder_.order() + 1, last = static_cast<int>(counts_.size());
  if (next > last) {
    if (last == 0) fail("it must be a count such as \"ngram 1=5000\", but is " + shown(line));
    if (line != "\\end\\") fail("it must be \"\\end\\\", but is " + shown(line));
    part_ = Part::after;
    return;
  }
  std::string expected(1, '\\');
  expected.append(std::to_string(next)).append("-grams:");
  if (line != expected) fail("it must be \"" + expected + "\", but is " + shown(line));
  part_ = Part::ngrams;
  builder_.begin_order(counts_[static_cast<std::size_t>(next - 1)]);
  beginning_.clear();
  words_.assign(static_cast<std::size_t>(next), 0);
}

void ArpaReader::end_section() {
  const int order = builder_.order();
  const std::uint64_t listed = builder_.count(), expected = counts_[static_cast<std::size_t>(order - 1)];
  if (listed != expected)
    fail("there are " + std::to_string(listed) + " " + std::to_string(order) + "-grams, but the file says " +
         std::to_string(expected));
}

std::uint32_t ArpaReader::word_of(std::string_view text) {
  const std::int64_t number = builder_.find(text);
  if (number < 0) fail("the word " + shown(text) + " is not among the 1-grams");
  return static_cast<std::uint32_t>(number);
}

void ArpaReader::read_ngram(std::string_view line) {
  const int order = builder_.order();
  double log_probability = 0, back_off = 0;
  const std::string_view number = take_field(line);
  if (!read_number(number, log_probability) || log_probability > 0)
    fail("it must begin with a logarithm of a probability, 0 or less, but begins with " + shown(number));
  std::string_view text = line;
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  // The words but the last are mostly those of the line before.
  std::string_view left = text;
  const bool is_repeated = order > 1 && left.starts_with(beginning_) && !beginning_.empty();
  if (is_repeated) {
    left.remove_prefix(beginning_.size());
  } else if (order > 1) {
    for (int k = 0; k + 1 < order; ++k) {
      const std::string_view field = take_field(left);
      if (field.empty()) fail("it has fewer than " + std::to_string(order) + " words");
      words_[static_cast<std::size_t>(k)] = word_of(field);
    }
    const std::size_t size = text.size() - left.size();
    beginning_.assign(text.substr(0, size));
    if (!left.empty()) beginning_ += left.front();  // the space, so that a longer word is another one
  }
  const std::string_view last = take_field(left);
  if (last.empty()) fail("it has fewer than " + std::to_string(order) + " words");
  const std::string_view weight = take_field(left);
  if (!weight.empty()) {
    if (!read_number(weight, back_off) || std::fabs(back_off) > kMostWeight)
      fail("it must have " + std::to_string(order) + " word" + (order == 1 ? "" : "s") +
           " and a back-off weight, but has " + shown(weight) + " after the words");
    if (!take_field(left).empty()) fail("it has more than " + std::to_string(order) + " words and a back-off weight");
  }
  if (order == 1) {
    if (!builder_.add_word(last, log_probability * kLog10, back_off * kLog10))
      fail("the word " + shown(last) + " is there twice");
  } else {
    words_.back() = word_of(last);
    builder_.add(words_, log_probability * kLog10, back_off * kLog10);
  }
}

}  // namespace ctckit
