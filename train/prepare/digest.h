// SHA-256, by which a download is known to be the file that was meant. Needs OpenSSL (digest_openssl.cpp).
#pragma once

#include <memory>
#include <span>
#include <string>

#include "train/prepare/reporter.h"

namespace weir {

class Digest {
 public:
  virtual ~Digest() = default;
  virtual void update(std::span<const char> bytes) = 0;
  virtual std::string finish() = 0;  // 64 hexadecimal digits
};

using DigestFactory = std::unique_ptr<Digest> (*)();
bool set_digest(DigestFactory factory);

bool have_digest();
// Throws RunError(unavailable) in a build without OpenSSL.
std::unique_ptr<Digest> make_sha256();
std::string sha256_of_file(const std::string& path, Reporter& reporter);

}  // namespace weir
