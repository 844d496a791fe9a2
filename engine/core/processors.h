#pragma once

namespace decant {

/// Processors that this process may run on (taskset, a container's cpuset, Slurm), at least 1 and
/// at most 1024: what num_threads() is where nobody sets it.
int available_processors();

}  // namespace decant
