// Memory that was freed, and that the allocator keeps for later.
#pragma once

namespace quell {

// Gives it back to the system, where the allocator can: behind work that took much for a while.
void return_free_memory();

}  // namespace quell
