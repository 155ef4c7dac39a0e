#include "train/prepare/digest.h"

#include <fmt/format.h>

#include "core/error.h"
#include "train/text/text_stream.h"

namespace weir {
namespace {

DigestFactory digest_factory = nullptr;

}  // namespace

bool set_digest(DigestFactory factory) {
  digest_factory = factory;
  return true;
}

bool have_digest() { return digest_factory != nullptr; }

std::unique_ptr<Digest> make_sha256() {
  if (digest_factory == nullptr)
    throw RunError(ExitCode::unavailable,
                   "this build of weir computes no SHA-256, since it was built without OpenSSL; build it again with "
                   "-Dopenssl=enabled");
  return digest_factory();
}

std::string sha256_of_file(const std::string& path, Reporter& reporter) {
  const std::unique_ptr<Digest> digest = make_sha256();
  const std::unique_ptr<TextStream> file = open_plain(path);
  std::string buffer(std::size_t{1} << 20, '\0');
  for (std::size_t n; (n = file->read(buffer)) > 0;) {
    reporter.check_stop();
    digest->update({buffer.data(), n});
  }
  return digest->finish();
}

}  // namespace weir
