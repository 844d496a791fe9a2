// Losses over rows. A row is taken by a thread, a warp or a block, by its length (row_worker.cuh),
// and read two or three times, from the cache after the first: what it moves bounds it.
#include "engine/ops/mean_of.cuh"
#include "engine/ops/row_worker.cuh"

namespace decant::cuda {
namespace {

constexpr int kIgnored = -1;
constexpr int kRefusedLabel = -2;

template <class T>
__global__ void label_kernel(const T* __restrict__ labels, MaskView mask, int64_t ignore_index,
                             int64_t classes, int* __restrict__ kept, int64_t n) {
  for (int64_t i = global_thread(); i < n; i += all_threads()) {
    const auto label = static_cast<int64_t>(labels[i]);
    const uint8_t m = mask[i];
    if (m == 0 || label == ignore_index)
      kept[i] = kIgnored;
    else if (m == Counted::kRefused || label < 0 || label >= classes)
      kept[i] = kRefusedLabel;
    else
      kept[i] = static_cast<int>(label);
  }
}

// A row of logits and what its softmax needs: the largest, and the sum of exp(x - largest) over all
// classes but the label, which keeps 1 - p where p rounds to 1.
struct OthersOfRow {
  float largest, others;
};

template <class Worker>
__device__ OthersOfRow others_of(const float* x, int64_t classes, int label) {
  float largest = -INFINITY;
  for (int64_t k = Worker::first(); k < classes; k += Worker::step())
    largest = fmaxf(largest, x[k]);
  largest = Worker::reduce(largest, -INFINITY, Max());
  float others = 0.0F;
  for (int64_t k = Worker::first(); k < classes; k += Worker::step())
    if (k != label) others += expf(x[k] - largest);
  return {largest, Worker::reduce(others, 0.0F, Sum())};
}

template <class Worker>
__global__ void cross_entropy_kernel(const float* __restrict__ logits,
                                     const int* __restrict__ labels, int64_t rows, int64_t classes,
                                     LossPart* __restrict__ parts) {
  LossPart mine = {};
  for (int64_t row = Worker::row(); row < rows; row += Worker::rows()) {
    const int label = labels[row];
    if (label >= 0) {
      const float* x = logits + row * classes;
      const OthersOfRow r = others_of<Worker>(x, classes, label);
      const float below = r.largest - x[label];
      // A logit that is NaN makes it NaN, also at the label's place, where fmaxf does not see it.
      const float loss = below <= 0.0F ? log1pf(r.others) : below + logf(r.others + expf(-below));
      if (Worker::first() == 0) mine.add(loss);
    } else if (label == kRefusedLabel && Worker::first() == 0) {
      ++mine.refused;
    }
  }
  store_part(mine, parts);
}

template <class Worker>
__global__ void cross_entropy_gradient_kernel(const float* __restrict__ logits,
                                              const int* __restrict__ labels, int64_t rows,
                                              int64_t classes, const float* __restrict__ dy,
                                              const float* __restrict__ divisor,
                                              float* __restrict__ dx) {
  const float factor = *dy / *divisor;
  for (int64_t row = Worker::row(); row < rows; row += Worker::rows()) {
    const int label = labels[row];
    const float* x = logits + row * classes;
    float* d = dx + row * classes;
    OthersOfRow r = {};
    float scale = 0.0F;
    if (label >= 0) {
      r = others_of<Worker>(x, classes, label);
      scale = factor / (r.others + expf(x[label] - r.largest));
    }
    for (int64_t k = Worker::first(); k < classes; k += Worker::step())
      d[k] = label < 0 ? 0.0F : (k == label ? -r.others : expf(x[k] - r.largest)) * scale;
  }
}

// A value of each of the two distributions of a row, and what its mask holds, a bit for each kind
// of entry.
struct RowPair {
  float p, q;
  unsigned seen;
};
constexpr unsigned kSeenCounting = 2;
constexpr unsigned kSeenRefused = 4;

struct MaxOfPairs {
  __device__ RowPair operator()(const RowPair& a, const RowPair& b) const {
    return {fmaxf(a.p, b.p), fmaxf(a.q, b.q), a.seen | b.seen};
  }
};
struct SumOfPairs {
  __device__ RowPair operator()(const RowPair& a, const RowPair& b) const {
    return {a.p + b.p, a.q + b.q, a.seen | b.seen};
  }
};

// P and Q of one position, and log Q - log P.
struct Position {
  float p, q, d;
};

// The two softmaxes of one row.
template <class Worker>
class RowOfTwo {
 public:
  __device__ RowOfTwo(const float* teacher, const float* student, MaskView mask, int64_t offset,
                      int64_t length, float temperature)
      : teacher_(teacher), student_(student), mask_(mask), offset_(offset), t_(temperature) {
    largest_ = {-INFINITY, -INFINITY, 0};
    for (int64_t i = Worker::first(); i < length; i += Worker::step()) {
      largest_.seen |= 1U << mask[offset + i];
      if (counts(i)) largest_ = MaxOfPairs()(largest_, {logit_p(i), logit_q(i), 0});
    }
    largest_ = Worker::reduce(largest_, RowPair{-INFINITY, -INFINITY, 0}, MaxOfPairs());
    sum_ = {};
    for (int64_t i = Worker::first(); i < length; i += Worker::step())
      if (counts(i))
        sum_ =
            SumOfPairs()(sum_, {expf(logit_p(i) - largest_.p), expf(logit_q(i) - largest_.q), 0});
    sum_ = Worker::reduce(sum_, RowPair{}, SumOfPairs());
    log_ratio_ = logf(sum_.q / sum_.p);
  }

  __device__ bool any_counts() const { return (largest_.seen & kSeenCounting) != 0; }
  __device__ bool refused() const { return (largest_.seen & kSeenRefused) != 0; }
  __device__ bool counts(int64_t i) const { return mask_[offset_ + i] == 1; }
  __device__ Position operator[](int64_t i) const {
    const float p = logit_p(i) - largest_.p;
    const float q = logit_q(i) - largest_.q;
    return {expf(p) / sum_.p, expf(q) / sum_.q, (q - p) - log_ratio_};
  }

 private:
  __device__ float logit_p(int64_t i) const { return teacher_[offset_ + i] / t_; }
  __device__ float logit_q(int64_t i) const { return student_[offset_ + i] / t_; }

  const float* teacher_;
  const float* student_;
  MaskView mask_;
  int64_t offset_;
  float t_;
  RowPair largest_, sum_;
  float log_ratio_;
};

// P log(P / Q) + Q - P of one position. Over a row the last two cancel, so that their sum is the
// divergence; but every term is positive, and of second order where P is near Q.
__device__ float divergence_of(Position at) {
  const auto [p, q, d] = at;
  if (p == 0.0F) return q;
  if (fabsf(d) < 0.1F)  // p (expm1(d) - d) as its series
    return p * d * d * 0.5F *
           (1.0F + d / 3.0F * (1.0F + d * 0.25F * (1.0F + d * 0.2F * (1.0F + d / 6.0F))));
  return d > 1.0F ? q - p - p * d : p * (expm1f(d) - d);
}

template <class Worker>
__global__ void kl_kernel(const float* __restrict__ teacher, const float* __restrict__ student,
                          MaskView mask, int64_t rows, int64_t length, float temperature,
                          LossPart* __restrict__ parts) {
  LossPart mine = {};
  for (int64_t r = Worker::row(); r < rows; r += Worker::rows()) {
    const RowOfTwo<Worker> row(teacher, student, mask, r * length, length, temperature);
    float sum = 0.0F;
    for (int64_t i = Worker::first(); i < length; i += Worker::step())
      if (row.counts(i)) sum += divergence_of(row[i]);
    sum = Worker::reduce(sum, 0.0F, Sum());
    if (Worker::first() != 0) continue;
    if (row.refused())
      ++mine.refused;
    else if (row.any_counts())
      mine.add(sum);
  }
  store_part(mine, parts);
}

template <class Worker>
__global__ void kl_gradient_kernel(const float* __restrict__ teacher,
                                   const float* __restrict__ student, MaskView mask, int64_t rows,
                                   int64_t length, float temperature, const float* __restrict__ dy,
                                   const float* __restrict__ divisor, float* __restrict__ dx) {
  const float factor = temperature * *dy / *divisor;
  for (int64_t r = Worker::row(); r < rows; r += Worker::rows()) {
    const RowOfTwo<Worker> row(teacher, student, mask, r * length, length, temperature);
    for (int64_t i = Worker::first(); i < length; i += Worker::step()) {
      float difference = 0.0F;  // Q - P
      if (row.counts(i)) {
        const auto [p, q, d] = row[i];
        difference = fabsf(d) < 1.0F ? p * expm1f(d) : q - p;
      }
      dx[r * length + i] = factor * difference;
    }
  }
}

}  // namespace

Tensor kept_labels(const Tensor& labels, const Counted& samples, int64_t ignore_index,
                   int64_t classes) {
  Tensor kept(labels.shape(), DType::i32, Device::cuda);
  with_number_type("labels", labels.dtype(), [&]<class T>() {
    launch("labels", label_kernel<T>, grid_over(labels.size()), labels.device_data<T>(),
           MaskView(samples), ignore_index, classes, kept.mutable_device_data<int>(),
           labels.size());
  });
  return kept;
}

Mean cross_entropy_mean(const Tensor& logits, const Tensor& labels) {
  const int64_t classes = logits.shape()[-1];
  Mean mean;
  with_worker(labels.size(), classes, true, [&]<class Worker>(Worker, const Grid& wanted) {
    mean = mean_of("cross_entropy", wanted, 1.0F, [&](const Grid& grid, LossPart* parts) {
      launch("cross_entropy", cross_entropy_kernel<Worker>, grid, logits.device_data<float>(),
             labels.device_data<int>(), labels.size(), classes, parts);
    });
  });
  return mean;
}

void cross_entropy_gradient(const Tensor& logits, const Tensor& labels, const Tensor& dy,
                            const Tensor& divisor, Tensor& dx) {
  const int64_t classes = logits.shape()[-1];
  with_worker(labels.size(), classes, true, [&]<class Worker>(Worker, const Grid& grid) {
    launch("cross_entropy backward", cross_entropy_gradient_kernel<Worker>, grid,
           logits.device_data<float>(), labels.device_data<int>(), labels.size(), classes,
           dy.device_data<float>(), divisor.device_data<float>(), dx.mutable_device_data<float>());
  });
}

Mean kl_rows_mean(const Tensor& teacher, const Tensor& student, const Counted& counted,
                  double temperature) {
  const int64_t rows = student.shape()[0];
  const int64_t length = student.shape()[1];
  const auto t = static_cast<float>(temperature);
  Mean mean;
  with_worker(rows, length, true, [&]<class Worker>(Worker, const Grid& wanted) {
    mean = mean_of("kl_div_rows", wanted, t * t, [&](const Grid& grid, LossPart* parts) {
      launch("kl_div_rows", kl_kernel<Worker>, grid, teacher.device_data<float>(),
             student.device_data<float>(), MaskView(counted), rows, length, t, parts);
    });
  });
  return mean;
}

void kl_rows_gradient(const Tensor& teacher, const Tensor& student, const Counted& counted,
                      double temperature, const Tensor& dy, const Tensor& divisor, Tensor& dx) {
  const int64_t rows = student.shape()[0];
  const int64_t length = student.shape()[1];
  with_worker(rows, length, true, [&]<class Worker>(Worker, const Grid& grid) {
    launch("kl_div_rows backward", kl_gradient_kernel<Worker>, grid, teacher.device_data<float>(),
           student.device_data<float>(), MaskView(counted), rows, length,
           static_cast<float>(temperature), dy.device_data<float>(), divisor.device_data<float>(),
           dx.mutable_device_data<float>());
  });
}

}  // namespace decant::cuda
