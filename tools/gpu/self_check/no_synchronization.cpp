// Every operation once into a CUDA graph. Whatever waits for the GPU, or allocates on it, makes the
// recording fail.
#include <stdexcept>

#include "framework/kernels/cuda.h"
#include "tools/gpu/self_check/check.h"
#include "tools/gpu/self_check/on_device.h"
#include "tools/gpu/self_check/reference.h"

namespace quell::gpu {
namespace {

namespace cuda = kernels::cuda;

constexpr int64_t kRows = 300, kFeatures = 64, kSize = kRows * kFeatures;
constexpr kernels::Levels kLevels = {0, 63};

struct Tensors {
  explicit Tensors(const std::vector<float>& values) : x(values), dx(values) {
    require(cudaMalloc(&workspace, kBytes));
    require(cudaMemset(workspace, 0, kBytes));
  }
  ~Tensors() { cudaFree(workspace); }

  static constexpr int64_t kBytes = 16 << 20;
  OnDevice<float> x, dx;
  OnDevice<float> y{kSize}, rows{kSize}, min{kFeatures}, max{kFeatures};
  OnDevice<float> low{kRows}, high{kRows}, dscale{kFeatures}, dzero{kFeatures};
  OnDevice<float> scale{std::vector<float>(kFeatures, 0.1f)};
  OnDevice<float> zero_point{std::vector<float>(kFeatures, 31.0f)};
  OnDevice<double> mean{kFeatures};
  OnDevice<int64_t> counts{100};
  OnDevice<int8_t> codes{kSize};
  void* workspace = nullptr;
};

// The range feeds the histogram: nothing goes through the host.
void launch_all(const Tensors& t, cudaStream_t stream) {
  const float* s = t.scale.data();
  const float* z = t.zero_point.data();
  cuda::fake_quantize_tensor(t.x.data(), t.y.data(), kSize, s, z, kLevels, stream);
  cuda::fake_quantize_channels(t.x.data(), t.y.data(), kRows, kFeatures, 1, s, z, kLevels, stream,
                               {t.codes.data(), quell::kernels::CodeType::kInt8});
  cuda::fake_quantize_rows_dynamic(t.x.data(), t.rows.data(), kRows, kFeatures,
                                   kernels::affine_rule(kernels::Grid::kOs, 6, false), nullptr,
                                   nullptr, stream);
  cuda::fake_quantize_gradient(t.x.data(), t.x.data(), t.dx.data(), kRows, kFeatures, 1, s, z,
                               kLevels, t.dscale.data(), t.dzero.data(), t.workspace, stream);
  cuda::min_max_tokens(t.x.data(), 1, kRows, kFeatures, nullptr, t.low.data(), t.high.data(),
                       stream);
  cuda::min_max_channels(t.x.data(), 1, 1, kSize, t.min.data(), t.max.data(), t.workspace, stream);
  cuda::add_to_histogram(t.x.data(), kSize, t.min.data(), t.max.data(), 100, false, t.counts.data(),
                         stream);
  cuda::Statistics results;
  results.mean = t.mean.data();
  cuda::statistics_channels(t.x.data(), kRows, kFeatures, 1, nullptr, results, t.workspace, stream);
}

// Records, and replays three times.
void record_and_replay(const Tensors& tensors, Check& check) {
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  require(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  require(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  std::string failure;
  try {
    launch_all(tensors, stream);
  } catch (const std::runtime_error& error) {
    failure = error.what();
  }
  const cudaError_t captured = cudaStreamEndCapture(stream, &graph);
  if (failure.empty() && captured != cudaSuccess) failure = cudaGetErrorString(captured);
  cudaGetLastError();
  check.expect(failure.empty(), "recording: " + failure);
  if (failure.empty()) {
    size_t nodes = 0;
    require(cudaGraphGetNodes(graph, nullptr, &nodes));
    check.expect(nodes == 8, "one launch per operation: found " + std::to_string(nodes) + " of 8");
    require(cudaGraphInstantiate(&executable, graph, 0));
    for (int i = 0; i < 3; ++i) require(cudaGraphLaunch(executable, stream));
    require(cudaStreamSynchronize(stream));
    cudaGraphExecDestroy(executable);
    cudaGraphDestroy(graph);
  }
  cudaStreamDestroy(stream);
}

}  // namespace

Check check_no_synchronization() {
  Check check{"no synchronization (graph of all operations)"};
  std::mt19937 random(9);
  const std::vector<float> x = hard_inputs(kSize, 0.1f, false, random);
  const Tensors recorded(x), direct(x);
  require(cudaDeviceSynchronize());
  record_and_replay(recorded, check);
  launch_all(direct, nullptr);
  check.expect_equal(recorded.y.back(), direct.y.back(), "values");
  check.expect_equal(recorded.rows.back(), direct.rows.back(), "dynamic rows");
  check.expect_equal(recorded.dx.back(), direct.dx.back(), "dx");
  check.expect_equal(recorded.dscale.back(), direct.dscale.back(), "dscale");
  check.expect_equal(recorded.mean.back(), direct.mean.back(), "means");
  check.expect_equal(recorded.max.back(), direct.max.back(), "ranges");
  std::vector<int64_t> three_times = direct.counts.back();
  for (int64_t& count : three_times) count *= 3;
  check.expect_equal(recorded.counts.back(), three_times, "histogram of three replays");
  return check;
}

}  // namespace quell::gpu
