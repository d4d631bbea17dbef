// LibTorch's thread pool. Threads record gradients if the caller does.
#pragma once

#include <cstdint>
#include <functional>

namespace quell {

// Calls body(first, last) on parts of [begin, end), on as many threads as at::get_num_threads()
// says and parts of at least `grain` allow. Nested calls are serial. An exception in a part is
// rethrown here.
void parallel_for(int64_t begin, int64_t end, int64_t grain,
                  const std::function<void(int64_t, int64_t)>& body);

// Calls work(i) for i in [0, count), each thread taking the next i as it becomes free: for few
// pieces of uneven size. Where there are several pieces, what each calls is serial, so that results
// do not depend on the number of threads. An exception in a piece is rethrown here.
void for_each_dynamically(int64_t count, const std::function<void(int64_t)>& work);

}  // namespace quell
