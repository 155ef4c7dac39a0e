// Words in messages: as a shell takes them, and counted.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "core/text.h"

using namespace weir;

namespace {

// What a shell makes of the word.
std::string through_shell(const std::string& word) {
  REQUIRE(::setenv("WEIR_TEST_COMMAND", ("printf %s " + word).c_str(), 1) == 0);
  FILE* const pipe = ::popen("bash -c \"$WEIR_TEST_COMMAND\"", "r");
  REQUIRE(pipe != nullptr);
  std::string output;
  for (int c; (c = std::fgetc(pipe)) != EOF;) output += static_cast<char>(c);
  CHECK(::pclose(pipe) == 0);
  return output;
}

}  // namespace

TEST_CASE("words: what a shell would take apart is quoted, in one line") {
  for (const auto& [word, quoted] :
       {std::pair<std::string, std::string>{"runs/a-b_1,c:2@x%+=.y", "runs/a-b_1,c:2@x%+=.y"},
        {"", "''"},
        {"my run", "'my run'"},
        {"it's", "'it'\\''s'"},
        {"$HOME/*\\\"", "'$HOME/*\\\"'"},
        {"~/x", "'~/x'"},
        {"größe", "'größe'"},
        {"a\nb'\\", "$'a\\012b\\'\\\\'"},
        {"\x1b[31m\xff"
         "7é",
         "$'\\033[31m\\3777é'"},
        {"a\u202eb", "$'a\\342\\200\\256b'"}}) {
    CHECK(shell_word(word) == quoted);
    CHECK(one_line(quoted) == quoted);
    CHECK(through_shell(quoted) == word);
  }
}

TEST_CASE("words: one of them is not several") {
  CHECK(counted(0, "step") == "0 steps");
  CHECK(counted(1, "step") == "1 step");
  CHECK(counted(std::size_t{2}, "step") == "2 steps");
}
