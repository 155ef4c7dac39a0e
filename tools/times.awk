# Makes a table of lines `NAME<tab>JSON`, where the JSON is what `weir bench --json` or docs/peers/torch_feedforward.py print.
function value(key,  text) {
  if (!match($2, "\"" key "\": *[^,}]*")) return ""
  text = substr($2, RSTART, RLENGTH)
  sub(/^[^:]*: */, "", text)
  gsub(/"/, "", text)
  return text
}
function rounded(text) { return text == "" ? "" : sprintf("%.0f", text) }
function share(text) { return text == "" ? "" : sprintf("%.1f%%", 100 * text) }
function row(name, seconds, gflops) {
  printf "%-12s %-30s %10.3f %9s %7s %8s %9s\n", $1, name, 1000 * seconds, rounded(gflops),
    rounded(value("gigabytes_per_second")), share(value("roof_share")), rounded(value("tokens_per_second"))
}
BEGIN {
  FS = "\t"
  printf "%-12s %-30s %10s %9s %7s %8s %9s\n", "", "", "ms", "GFLOP/s", "GB/s", "of roof", "tokens/s"
}
value("peer") != "" {
  row("dense", value("dense_s"), value("dense_gflops"))
  row("sigma-moe", value("moe_s"), value("moe_gflops"))
  next
}
{ row(value("case"), value("seconds"), value("gflops")) }
