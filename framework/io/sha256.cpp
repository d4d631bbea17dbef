#include "framework/io/sha256.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "framework/base/error.h"
#include "framework/base/input_file.h"

namespace quell {
namespace {

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    check(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr));
  }
  void add(std::string_view bytes) {
    check(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()));
  }
  std::string digits() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
    unsigned size = 0;
    check(EVP_DigestFinal_ex(context_.get(), digest.data(), &size));
    std::string result;
    for (unsigned i = 0; i < size; ++i) result += fmt::format("{:02x}", digest[i]);
    return result;
  }

 private:
  static void check(int ok) {
    if (!ok) throw Error("OpenSSL cannot compute SHA-256 on this machine");
  }
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

}  // namespace

std::string sha256_of_file(const std::filesystem::path& path) {
  const InputFile file(path);
  constexpr size_t kPiece = 1 << 20;
  Sha256 hash;
  std::vector<char> buffer(std::min(kPiece, file.size()));
  for (size_t offset = 0; offset < file.size(); offset += kPiece) {
    const size_t size = std::min(kPiece, file.size() - offset);
    file.read(offset, size, buffer.data());
    hash.add({buffer.data(), size});
  }
  return hash.digits();
}

std::string sha256_of_text(std::string_view text) {
  Sha256 hash;
  hash.add(text);
  return hash.digits();
}

}  // namespace quell
