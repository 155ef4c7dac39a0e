#include <fmt/format.h>
#include <openssl/evp.h>

#include "core/error.h"
#include "train/prepare/digest.h"

namespace weir {
namespace {

class OpensslSha256 final : public Digest {
 public:
  OpensslSha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    check(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }

  void update(std::span<const char> bytes) override {
    check(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
  }

  std::string finish() override {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    check(EVP_DigestFinal_ex(context_.get(), digest, &length) == 1);
    std::string text;
    for (unsigned int i = 0; i < length; ++i) text += fmt::format("{:02x}", digest[i]);
    return text;
  }

 private:
  static void check(bool done) {
    if (!done) throw RunError(ExitCode::unavailable, "OpenSSL computes no SHA-256 here; check its configuration");
  }

  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

const bool registered = set_digest([]() -> std::unique_ptr<Digest> { return std::make_unique<OpensslSha256>(); });

}  // namespace
}  // namespace weir
