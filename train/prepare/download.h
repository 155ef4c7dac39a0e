// Files from the network: into a folder, resumable, from the first of several places that has them, checked by digest.
//
// While it arrives a file is called NAME.part; a later attempt goes on where that ends. Under its own name it is whole.
// Needs libcurl (download_curl.cpp), and OpenSSL for the digests.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "train/prepare/reporter.h"

namespace weir {

struct RemoteFile {
  std::string name;               // in the folder
  std::vector<std::string> urls;  // tried in order
  std::string sha256;             // 64 hexadecimal digits; empty: not known
  std::uint64_t bytes = 0;        // 0: not known
};

struct DownloadOptions {
  std::string folder = "data/downloads";
  std::string mirror;           // tried before the others: an address of the file, or of the folder that it is in
  bool only_mirror = false;     // no other place is asked
  std::int64_t timeout_s = 30;  // to connect, and without anything arriving
  std::string user_agent;       // some hosts refuse the usual ones
};

// What is downloaded already is checked and kept. Returns the path. Throws RunError: io where no place gave the file,
// with a reason for each; bad_data where every place gave another file; stopped when the reporter says so.
std::string download(const RemoteFile& file, const DownloadOptions& options, Reporter& reporter);

bool have_downloads();

// --- for the transport ----------------------------------------------------------------------------------------------

struct TransferRequest {
  std::string url, user_agent;
  std::uint64_t offset = 0;  // resume from here
  std::int64_t timeout_s = 30;
  // The server answers: `start` is 0 where it sends the whole file after all; `total` is 0 where it does not say. False
  // ends the transfer.
  std::function<bool(std::uint64_t start, std::uint64_t total)> begin;
  std::function<bool(std::span<const char> bytes)> write;  // false ends the transfer
  std::function<bool()> stop;
};

struct TransferResult {
  enum class Outcome {
    done,
    interrupted,  // worth trying again
    refused,      // not worth trying again here
    ended,        // by begin, write or stop
    beyond_end,   // nothing from this offset on
  } outcome;
  std::string reason;
};

using Transport = TransferResult (*)(const TransferRequest& request);
bool set_transport(Transport transport);

}  // namespace weir
