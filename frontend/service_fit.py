"""How long a batch takes, learned from those that were served: t(n) = fixed + n * per job.

The line is fitted by least squares that forget (a memory of some 30 batches); a stall of the machine
weighs little (Huber's weights). Batches of one size say nothing about the slope: its share of the
whole time is kept from when there were several sizes.

Not every model is a line: padding makes steps, caches make knees. So each size that was seen also has
a time of its own, and between two of them the time is taken in proportion. The line is for all
others. What makes all sizes slower or quicker is kept apart, as one factor: so a size that has not
been seen for long follows a model, or a machine, that drifts.

Pure arithmetic: no clock, memory for a hundred-odd sizes at most, and the same few operations for
each batch.
"""

from __future__ import annotations

import bisect
from typing import Final

_FORGET: Final = 0.03
"""What of a batch's weight is lost with each one after it."""
_STEADY: Final = 0.05
"""Where times deviate by more than this part, more batches are needed to tell, so more are remembered..."""
_MOST_CAUTION: Final = 8.0
"""...up to so many times as many."""
_PRIOR_SHARE: Final = 0.5
"""Share of the time that grows with the size, while nothing is known: finding out costs one batch."""
_RETURN: Final = 1 / 2000
"""How quickly that returns while sizes do not differ, so that a changed model is noticed."""
_RIDGE: Final = 0.25
_LEAST_NOISE: Final = 0.02
"""Deviations below two percent are never outliers."""
_USUAL_BEND: Final = 0.1
"""How much a size may well differ from the line: what varies more is believed after some batches."""
_MEMORY: Final = 16
"""Batches of its size after which an old one has lost most of its weight."""
_STALE: Final = 200
"""Batches after which the time of a size counts for one observation less."""
_KNOWN: Final = 4
"""So many batches of a size are taken as they come."""
_DRIFT: Final = 1 / 6
_ANOTHER: Final = 0.2
"""A part of the expected time that a size must be off, beside those before it, to count as odd."""
_ODD: Final = 1
"""After so many odd times of a size, one more means another model."""
_ODD_OF_MANY: Final = 2
"""The same where many are odd, for times vary."""
_UNSTEADY: Final = 0.1
_EVEN: Final = (0, False, 0)
_EXACT_SIZES: Final = 64


def bucket(size: int) -> int:
    """Number of the size in tables: sizes to 64 have their own, above there are eight per octave."""
    if size <= _EXACT_SIZES:
        return size
    bits = size.bit_length()
    return _EXACT_SIZES + (bits - 7) * 8 + (size >> (bits - 4)) - 7


def first_of(number: int) -> int:
    """The smallest size of a bucket."""
    if number <= _EXACT_SIZES:
        return number
    octave, eighth = divmod(number - _EXACT_SIZES - 1, 8)
    return max((8 + eighth) << (octave + 3), _EXACT_SIZES + 1)


class ServiceFit:
    """Service time against batch size, of the workers of one model version.

    Attributes:
        batches: how many were observed.
        models: how many different models were seen: each time one becomes another, all is forgotten.
        noise: usual deviation of a batch from what was expected, as a part of it.
        is_surprised: whether the latest batch took another time than was to be expected from those of
            its size and from the pace of those just before it.
    """

    __slots__ = (
        "_cross",
        "_fixed",
        "_known",
        "_mean_size",
        "_mean_time",
        "_odd",
        "_pace",
        "_per_job",
        "_scale",
        "_share",
        "_spread",
        "_times",
        "_weight",
        "batches",
        "is_surprised",
        "models",
        "noise",
    )

    def __init__(self) -> None:
        self.batches = self.models = 0
        self.is_surprised = False
        self.noise = 0.0
        self._begin()

    def _begin(self) -> None:
        """Know nothing of the model but how many batches there were, and how much times vary."""
        self.models += 1
        self._odd = _EVEN  # the size that was odd, whether it was too slow, and how many times
        self._pace = (0, 1.0)  # the latest size, and how times compare with what was expected
        self._scale = 1.0  # all times but the caller's are divided by it
        self._fixed = self._per_job = 0.0
        self._weight = self._mean_size = self._mean_time = 0.0
        self._spread = self._cross = 0.0  # weighted sums of squares around the means
        self._share = _PRIOR_SHARE
        # Of sizes, by bucket: the time, observations, and the number of the latest one.
        self._times: dict[int, tuple[float, int, int]] = {}
        self._known: list[int] = []  # the keys, in order

    @property
    def fixed_s(self) -> float:
        """Seconds that a batch of any size costs, by the line."""
        return self._fixed * self._scale

    @property
    def per_job_s(self) -> float:
        """Seconds that each job adds, by the line."""
        return self._per_job * self._scale

    @property
    def sizes(self) -> tuple[int, int]:
        """The smallest and the largest size that was seen, as far as the tables can tell."""
        known = self._known
        return (first_of(known[0]), first_of(known[-1])) if known else (1, 1)

    def seen_at(self, size: int) -> int:
        """The number of the latest batch of this size, 0 when there was none."""
        return self._times.get(bucket(size), (0.0, 0, 0))[2]

    def seen_beyond(self, size: int) -> int:
        """The number of the latest batch of a larger size than this, 0 when there was none."""
        beyond = self._known[bisect.bisect(self._known, bucket(size)) :]
        return max((self._times[number][2] for number in beyond), default=0)

    def seconds(self, size: int) -> float:
        """How long a batch of so many jobs will take; 0.0 while nothing is known."""
        number, known = bucket(size), self._known
        if number in self._times:
            return self._time(number) * self._scale
        if not known:
            return 0.0
        at = bisect.bisect(known, number)
        if at in {0, len(known)}:  # beyond all that was seen: as the line goes on from there
            end = known[max(at - 1, 0)]
            return self._time(end) * self._line(size) / self._line(first_of(end)) * self._scale
        low, high = known[at - 1], known[at]
        part = (size - first_of(low)) / (first_of(high) - first_of(low))
        return (self._time(low) * (1 - part) + self._time(high) * part) * self._scale

    def observe(self, size: int, seconds: float) -> None:
        """Learn from a batch.

        Args:
            size: its jobs, at least 1.
            seconds: how long a worker was occupied by it.
        """
        number = bucket(size)
        seconds = max(seconds, 1e-9)
        self.is_surprised = False
        time, count, _ = self._times.get(number, (0.0, 0, 0))
        if count >= _KNOWN and self._is_another(number, seconds / (time * self._scale)):
            self._begin()
            time, count = 0.0, 0
        weight = 1.0
        if count >= _KNOWN:  # before, a deviation is the estimate's
            expected = time * self._scale
            weight = self._weigh(seconds, expected)
            most = 1 + 6 * max(self.noise, _LEAST_NOISE)
            self._scale *= min(max(seconds / expected, 1 / most), most) ** (
                _DRIFT / self._caution**0.5
            )
        self.batches += 1
        if self.is_surprised:
            return  # believed when it happens again
        seconds /= self._scale
        self._draw_line(size, seconds, weight)
        if not count:
            bisect.insort(self._known, number)
        count = min(count + 1, int(_MEMORY * self._caution))
        self._times[number] = (time + (seconds - time) * (weight / count), count, self.batches)

    def _is_another(self, number: int, ratio: float) -> bool:
        """Whether the model has become another one: a size is odd for the second time.

        What slows all sizes alike is the machine; `_scale` follows it. But a size that is quicker or
        slower than it was, when the batches just before it are not, belongs to another model, and so
        do then the times of all other sizes that have not been tried since.

        Args:
            number: bucket of the size.
            ratio: of the time of the latest batch to the expected one.
        """
        latest, pace = self._pace
        self._pace = (number, pace + (ratio - pace) / 4)
        if number == latest:  # it says nothing about sizes, only about the pace
            return False
        surprise = ratio / pace
        is_slow = surprise > 1
        most = 1 + max(_ANOTHER, 4 * self.noise)
        if 1 / most <= surprise <= most:
            if self._odd[0] == number:
                self._odd = _EVEN
            return False
        times = self._odd[2] + 1 if self._odd[:2] == (number, is_slow) else 1
        if times > (_ODD if self.noise < _UNSTEADY else _ODD_OF_MANY):
            return True
        self._odd = (number, is_slow, times)
        self.is_surprised = True
        return False

    def _weigh(self, seconds: float, expected: float) -> float:
        """1.0 for what was to be expected, less for what was not."""
        deviation = abs(seconds - expected) / expected
        usual = max(self.noise, _LEAST_NOISE)
        # A change of the model makes everything an outlier; it is believed when it lasts.
        self.noise += (min(deviation, 6 * usual) - self.noise) / 16
        return min(1.0, 3 * usual / deviation) if deviation else 1.0

    @property
    def _caution(self) -> float:
        return min(max(self.noise / _STEADY, 1.0), _MOST_CAUTION)

    def _draw_line(self, size: int, seconds: float, weight: float) -> None:
        keep = 1 - _FORGET / self._caution
        self._weight = self._weight * keep + weight
        off_size, off_time = size - self._mean_size, seconds - self._mean_time
        self._mean_size += off_size * weight / self._weight
        self._mean_time += off_time * weight / self._weight
        off_size *= weight
        self._spread = self._spread * keep + off_size * (size - self._mean_size)
        self._cross = self._cross * keep + off_size * (seconds - self._mean_time)
        middle, time = self._mean_size, self._mean_time
        ridge = _RIDGE * middle * middle
        if self._spread > 4 * ridge:
            slope = self._cross / self._spread
            self._share = min(max(slope * middle / time, 0.0), 1.0)
        else:
            self._share += (_PRIOR_SHARE - self._share) * _RETURN
            slope = (self._cross + ridge * self._share * time / middle) / (self._spread + ridge)
        self._per_job = min(max(slope, 0.0), time / middle)
        self._fixed = time - self._per_job * middle

    def _line(self, size: int) -> float:
        return self._fixed + self._per_job * size

    def _time(self, number: int) -> float:
        """The time of a size that was seen.

        The more times vary, and the longer it was not seen, the closer it is to the line.
        """
        time, count, latest = self._times[number]
        doubt = (self.noise / _USUAL_BEND) ** 2 + (self.batches - latest) / _STALE
        line = self._line(first_of(number))
        return line + (time - line) * count / (count + doubt)
