// Files of torch.save that hold a state dict: pytorch_model.bin.
#pragma once

#include <map>

#include "framework/base/input_file.h"
#include "framework/io/pickle.h"
#include "framework/io/tensor_file.h"

namespace quell {

class ZipArchive;

// Both layouts: the zip file of today and the row of pickles of PyTorch before 1.6. The pickle is
// interpreted, never executed; whatever is not a tensor is refused. Opening checks every shape,
// stride and offset against the bytes that are there. One thread at a time.
class TorchFile final : public TensorFile {
 public:
  // Throws DataError naming the file, what was found and how to convert it.
  explicit TorchFile(const std::filesystem::path& path);
  ~TorchFile() override;

  const std::filesystem::path& path() const override { return file_.path(); }
  const std::vector<std::string>& names() const override { return names_; }
  bool contains(const std::string& name) const override { return tensors_.count(name) > 0; }
  const std::vector<int64_t>& shape(const std::string& name) const override;
  at::ScalarType type(const std::string& name) const override;
  at::Tensor read(const std::string& name) const override;

 private:
  struct Place {
    size_t position;
    size_t bytes;
  };
  [[noreturn]] void fail(const std::string& message) const;
  void open_zip();
  void open_row_of_pickles();
  void add(std::vector<std::pair<std::string, TensorReference>> tensors);
  void check(const std::string& name, const TensorReference& tensor) const;
  const TensorReference& find(const std::string& name) const;

  InputFile file_;
  std::vector<std::string> names_;
  std::map<std::string, TensorReference> tensors_;
  std::unique_ptr<ZipArchive> archive_;  // today's layout
  std::string archive_folder_;           // in it, with a slash at the end
  std::map<std::string, Place> places_;  // old layout: where each storage lies
};

}  // namespace quell
