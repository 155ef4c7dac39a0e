// tokenizer.json, and the encoding of texts by those that are taken. A member "text" of the file, which no tokenizer
// reads, is one of the texts.
#include <array>
#include <vector>

#include "core/text.h"
#include "tests/fuzz/json_mutator.h"
#include "tests/fuzz/tokenizer_input.h"
#include "train/tokenizer/json/document.h"

using namespace weir;
using namespace weir::fuzz;

namespace {

// Components, each complete.
constexpr std::array<std::string_view, 56> kParts{
    R"({"type":"NFC"})",
    R"({"type":"NFD"})",
    R"({"type":"NFKC"})",
    R"({"type":"NFKD"})",
    R"({"type":"Nmt"})",
    R"({"type":"Lowercase"})",
    R"({"type":"StripAccents"})",
    R"({"type":"ByteLevel"})",
    R"({"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true})",
    R"({"type":"Strip","strip_left":true,"strip_right":true})",
    R"({"type":"Replace","pattern":{"String":"a"},"content":"bb"})",
    R"({"type":"Replace","pattern":{"Regex":"\\s+"},"content":" "})",
    R"({"type":"Prepend","prepend":"▁"})",
    R"({"type":"Precompiled","precompiled_charsmap":"AAAA"})",
    R"({"type":"Sequence","normalizers":[{"type":"NFC"}]})",
    R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true})",
    R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":true})",
    R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":false})",
    R"({"type":"Metaspace","replacement":"▁","add_prefix_space":true})",
    R"({"type":"Whitespace"})",
    R"({"type":"WhitespaceSplit"})",
    R"({"type":"Digits","individual_digits":true})",
    R"({"type":"Digits","individual_digits":false})",
    R"({"type":"Punctuation","behavior":"Isolated"})",
    R"({"type":"Punctuation"})",
    R"({"type":"CharDelimiterSplit","delimiter":"-"})",
    R"({"type":"FixedLength","length":2})",
    R"({"type":"UnicodeScripts"})",
    R"({"type":"BertPreTokenizer"})",
    R"({"type":"Split","pattern":{"Regex":"\\p{L}+|\\d"},"behavior":"MergedWithPrevious","invert":false})",
    R"({"type":"Split","pattern":{"String":" "},"behavior":"MergedWithNext","invert":true})",
    R"({"type":"Split","pattern":{"Regex":"(a|b)\\1"},"behavior":"Contiguous","invert":false})",
    R"({"type":"Split","pattern":{"Regex":"[^\\n]\\R"},"behavior":"Removed","invert":false})",
    R"({"type":"Sequence","pretokenizers":[{"type":"Whitespace"}]})",
    R"({"type":"ByteFallback"})",
    R"({"type":"Fuse"})",
    R"({"type":"Strip","content":" ","start":1,"stop":1})",
    R"({"type":"BPEDecoder","suffix":"</w>"})",
    R"({"type":"WordPiece","prefix":"##","cleanup":true})",
    R"({"type":"CTC","pad_token":"<pad>","word_delimiter_token":"|","cleanup":true})",
    R"({"type":"Sequence","decoders":[{"type":"Fuse"}]})",
    R"({"type":"TemplateProcessing"})",
    R"({"type":"Sequence","processors":[{"type":"BertProcessing"}]})",
    R"({"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]})",
    R"({"type":"BPE","unk_token":"?","fuse_unk":true,"vocab":{"a":0,"##b":1,"ab":2,"?":3},"merges":[["a","##b"]],"continuing_subword_prefix":"##"})",
    R"({"type":"BPE","vocab":{"a":0,"b</w>":1,"ab</w>":2},"merges":[["a","b</w>"]],"end_of_word_suffix":"</w>"})",
    R"({"type":"BPE","byte_fallback":true,"ignore_merges":true,"dropout":null,"vocab":{"<0x61>":0,"<0x0A>":1},"merges":[]})",
    R"({"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["a",-1.5],["b",-1],["ab",-2]]})",
    R"({"type":"Unigram","unk_id":null,"byte_fallback":true,"vocab":[["<0x61>",0],["a",-1.5]]})",
    R"({"type":"WordPiece","unk_token":"?","continuing_subword_prefix":"##","max_input_chars_per_word":9,"vocab":{"a":0,"##b":1,"?":2}})",
    R"({"type":"WordLevel","unk_token":"?","vocab":{"a":0,"the":1,"?":2}})",
    R"({"id":3,"content":"<s>","special":true,"lstrip":true,"rstrip":true,"normalized":false,"single_word":true})",
    R"({"id":3,"content":"<t>","special":false,"normalized":true})",
    R"("a river\u00e9 <s> 12 \n\n the-end\u0301 \ud55c\uad6d \u4e2d <unk> ab")",
    R"("<0x0A>")",
    R"("<0xFF>")"};

}  // namespace

int weir::fuzz::try_input(const std::uint8_t* data, std::size_t size) {
  const std::unique_ptr<Tokenizer> tokenizer = open_input("t.json", data, size);
  if (!tokenizer) return 0;
  accepts([&] { use(*tokenizer, "a river <s> \xe2\x96\x81 12\n\xff \xed\x95\x9c b-ab"); });
  const JsonValue root = parse_document("t.json", text_of(data, size));
  if (const auto text = JsonPlace("t.json", root).find("text")) accepts([&] { use(*tokenizer, text->text()); });
  return 0;
}

std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed) {
  return mutate_json_file(data, size, max_size, seed, kParts);
}
