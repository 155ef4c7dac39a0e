#include <curl/curl.h>
#include <fmt/format.h>

#include <exception>
#include <memory>

#include "core/error.h"
#include "train/prepare/download.h"

namespace weir {
namespace {

// One transfer. libcurl is C: exceptions of the callbacks are kept and thrown again when it has returned.
class Transfer {
 public:
  explicit Transfer(const TransferRequest& request) : request_(request), curl_(curl_easy_init(), curl_easy_cleanup) {
    if (curl_ == nullptr) throw std::bad_alloc();
  }

  TransferResult run() {
    configure();
    const CURLcode code = curl_easy_perform(curl_.get());
    if (failure_) std::rethrow_exception(failure_);
    if (code == CURLE_OK && !began_) {  // an empty file
      write({});
      if (failure_) std::rethrow_exception(failure_);
    }
    return {outcome(code), reason(code)};
  }

 private:
  using Outcome = TransferResult::Outcome;

  template <class Value>
  void set(CURLoption option, Value value) {
    if (const CURLcode code = curl_easy_setopt(curl_.get(), option, value); code != CURLE_OK)
      throw InternalError(
          fmt::format("libcurl refuses option {}: {}", static_cast<int>(option), curl_easy_strerror(code)));
  }

  void configure() {
    set(CURLOPT_URL, request_.url.c_str());
    set(CURLOPT_USERAGENT, request_.user_agent.c_str());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_REDIR_PROTOCOLS_STR, request_.url.starts_with("https") ? "https" : "http,https");
    set(CURLOPT_FOLLOWLOCATION, 1L);
    set(CURLOPT_MAXREDIRS, 10L);
    set(CURLOPT_FAILONERROR, 1L);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_CONNECTTIMEOUT, static_cast<long>(request_.timeout_s));
    set(CURLOPT_LOW_SPEED_LIMIT, 1L);
    set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(request_.timeout_s));
    set(CURLOPT_ERRORBUFFER, message_);
    if (request_.offset > 0) {
      range_ = fmt::format("{}-", request_.offset);
      set(CURLOPT_RANGE, range_.c_str());
    }
    set(CURLOPT_WRITEDATA, static_cast<void*>(this));
    set(
        CURLOPT_WRITEFUNCTION, +[](char* bytes, std::size_t, std::size_t count, void* self) {
          return static_cast<Transfer*>(self)->write({bytes, count}) ? count : CURL_WRITEFUNC_ERROR;
        });
    set(CURLOPT_NOPROGRESS, 0L);
    set(CURLOPT_XFERINFODATA, static_cast<void*>(this));
    set(
        CURLOPT_XFERINFOFUNCTION, +[](void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
          return static_cast<Transfer*>(self)->request_.stop() ? 1 : 0;
        });
  }

  bool write(std::span<const char> bytes) {
    try {
      if (!began_ && !begin()) return false;
      return request_.write(bytes);
    } catch (...) {
      failure_ = std::current_exception();
      return false;
    }
  }

  bool begin() {
    began_ = true;
    long status = 0;
    curl_off_t length = -1;
    curl_easy_getinfo(curl_.get(), CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(curl_.get(), CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    const std::uint64_t start = status == 206 ? request_.offset : 0;
    return request_.begin(start, length >= 0 ? start + static_cast<std::uint64_t>(length) : 0);
  }

  Outcome outcome(CURLcode code) const {
    switch (code) {
      case CURLE_OK:
        return Outcome::done;
      case CURLE_WRITE_ERROR:
      case CURLE_ABORTED_BY_CALLBACK:
        return Outcome::ended;
      case CURLE_HTTP_RETURNED_ERROR: {
        const long status = http_status();
        if (status == 416) return Outcome::beyond_end;
        return status == 408 || status == 429 || status >= 500 ? Outcome::interrupted : Outcome::refused;
      }
      case CURLE_PARTIAL_FILE:
      case CURLE_OPERATION_TIMEDOUT:
      case CURLE_COULDNT_CONNECT:
      case CURLE_GOT_NOTHING:
      case CURLE_SEND_ERROR:
      case CURLE_RECV_ERROR:
      case CURLE_HTTP2:
      case CURLE_HTTP2_STREAM:
        return Outcome::interrupted;
      default:
        return Outcome::refused;
    }
  }

  std::string reason(CURLcode code) const {
    if (code == CURLE_OK) return "";
    if (code == CURLE_HTTP_RETURNED_ERROR) return fmt::format("HTTP status {}", http_status());
    return message_[0] != '\0' ? message_ : curl_easy_strerror(code);
  }

  long http_status() const {
    long status = 0;
    curl_easy_getinfo(curl_.get(), CURLINFO_RESPONSE_CODE, &status);
    return status;
  }

  const TransferRequest& request_;
  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl_;
  std::string range_;
  char message_[CURL_ERROR_SIZE] = {};
  bool began_ = false;
  std::exception_ptr failure_;
};

TransferResult transfer(const TransferRequest& request) {
  static const bool ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  if (!ready) throw RunError(ExitCode::unavailable, "libcurl cannot be initialised; check its installation");
  return Transfer(request).run();
}

const bool registered = set_transport(transfer);

}  // namespace
}  // namespace weir
