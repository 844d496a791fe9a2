#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/study/job_lock.h"
#include "apps/study/matrix.h"
#include "apps/study/results.h"
#include "data/split.h"

namespace decant::apps {

/// One network to train: a cell in one split, from one seed.
struct Job {
  std::string name;  ///< "split0/L_KLD", with several seeds "split0/L_KLD.seed1"
  size_t cell = 0;   ///< in Study::cells
  std::string split;
  uint64_t seed = 0;
  std::string needs;  ///< the job of its teacher; "" without
};

/// A study and its folder:
///
///   matrix.json               what it is, as its file said, with its defaults
///   cells.json                its networks, every setting written out: what jobs train
///   origin.json               program, data and --init files it began with, words of its splits
///   splits/split0.json ..     each as `--split FILE.json` reads it
///   runs/split0/L_KLD/        a run folder, as train and distill make it
///   runs/split0/L_KLD.json    results of that one run: where it is, the job is done
///   runs/split0/L_KLD.provenance.json  program, machine, digests, time (apps/study/job.h)
///   runs/split0/L_KLD.lock    while a process is at work on it (apps/study/job_lock.h)
///   runs/split0/L_KLD.log     what the program said meanwhile
///   results.json latency.json what collect() makes of all
struct Study {
  std::filesystem::path folder;
  Matrix matrix;
  std::string program;
  StudyData data;
  std::vector<std::string> splits;
  std::vector<MatrixCell> cells;
  Json init = Json::object();  ///< the files that networks begin with, and init_digest() of each
  bool written_out = true;     ///< false where a program of before there was a cells.json began it
  std::vector<Job> jobs;       ///< each after the one it needs
  std::string changes;         ///< where begin_study() planned it anew: "train.epochs: 2, now 3"

  const Job& job(const std::string& name) const;
  const MatrixCell& cell_of(const Job& job) const { return cells[job.cell]; }
  std::filesystem::path run_folder(const Job& job) const { return folder / "runs" / job.name; }
  std::filesystem::path file(const Job& job, const char* suffix) const;
  bool done(const Job& job) const { return std::filesystem::exists(file(job, ".json")); }
  /// Whether its network is there: figures of a job that is done stand without it.
  bool has_network(const Job& job) const {
    return std::filesystem::exists(run_folder(job) / "best.safetensors");
  }
  std::filesystem::path split_file(const std::string& split) const;
  data::Split split_of(const Job& job, const data::Dataset& dataset) const;
  /// What `train` or `distill` would be given.
  TrainConfig config_of(const Job& job) const;
};

/// Begins a study: reads the matrix in `file`, looks at all images and --init files, makes the
/// splits and writes them into `folder`. Where it has begun already: opens it, or as long as no job
/// of it has run and file, images or splits have changed since, begins it anew. Throws Error where
/// a job has run and the file is not the study that has begun, with the first key in which they
/// differ and both values, or the images have changed since. A file of splits may lie elsewhere by
/// then, with the same folds.
Study begin_study(const std::string& file, const std::filesystem::path& folder);

/// Opens a study that has begun, where its file is given too. Throws Error where there is none, or
/// the file is not the study's, as begin_study() does.
Study open_study_of(const std::string& file, const std::filesystem::path& folder);

/// Whether a study has begun in the folder.
bool is_begun(const std::filesystem::path& folder);

/// What matrix.json holds.
Json json_of(Matrix matrix);

/// Opens a study that has begun. Nothing is written, and the images are not looked at. Throws Error
/// where there is none.
Study open_study(const std::filesystem::path& folder);

/// The same, but not while another process plans it anew: that is waited for.
Study open_guarded(const std::filesystem::path& folder);

/// Whether a study's folder can be written. Where it cannot, it is read without its guard, and what
/// collect() finds is not kept there.
bool is_kept(const std::filesystem::path& folder);

/// Keeps other processes from planning a study anew and from timing its networks. One that is at it
/// is waited for, and standard error says so.
FolderGuard guard_study(const std::filesystem::path& folder);

}  // namespace decant::apps
