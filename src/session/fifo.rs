//! A queue that hardly ever has anything in it, and takes the room of one pointer then: there are
//! several for each of thousands of BMCs, and each is used for a moment.

use std::collections::VecDeque;

/// See the head of this file. It keeps no room once it is empty.
#[derive(Clone, PartialEq, Debug)]
#[allow(
    clippy::box_collection,
    reason = "a queue is four words long, and there is none most of the time"
)]
pub(crate) struct Fifo<T>(Option<Box<VecDeque<T>>>);

impl<T> Fifo<T> {
    pub(crate) fn new() -> Self {
        Self(None)
    }

    /// With room for so many from the beginning, as long as it is not empty again.
    pub(crate) fn with_room(items: usize) -> Self {
        Self(Some(Box::new(VecDeque::with_capacity(items))))
    }

    pub(crate) fn push_back(&mut self, item: T) {
        self.begun().push_back(item);
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        self.change(VecDeque::pop_front)
    }

    /// Puts it behind so many others.
    pub(crate) fn insert(&mut self, index: usize, item: T) {
        self.begun().insert(index, item);
    }

    /// With room for one: most never have more, and the standard library would begin with four.
    fn begun(&mut self) -> &mut VecDeque<T> {
        let begin = || Box::new(VecDeque::with_capacity(1));
        self.0.get_or_insert_with(begin)
    }

    pub(crate) fn remove(&mut self, index: usize) -> Option<T> {
        self.change(|queue| queue.remove(index))
    }

    pub(crate) fn retain(&mut self, keeps: impl FnMut(&T) -> bool) {
        self.change(|queue| {
            queue.retain(keeps);
            None
        });
    }

    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.0.as_ref()?.front()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.0.iter().flat_map(|queue| queue.iter())
    }

    pub(crate) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut T> {
        self.0.iter_mut().flat_map(|queue| queue.iter_mut())
    }

    fn change(&mut self, change: impl FnOnce(&mut VecDeque<T>) -> Option<T>) -> Option<T> {
        let queue = self.0.as_mut()?;
        let taken = change(queue);
        if queue.is_empty() {
            self.0 = None;
        }
        taken
    }
}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Extend<T> for Fifo<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        items.into_iter().for_each(|item| self.push_back(item));
    }
}

impl<T> IntoIterator for Fifo<T> {
    type Item = T;
    type IntoIter = std::collections::vec_deque::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0
            .map_or_else(VecDeque::new, |queue| *queue)
            .into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_queue_and_takes_no_room_when_it_is_empty() {
        let mut queue = Fifo::new();
        assert_eq!(size_of_val(&queue), size_of::<usize>());
        assert!(queue.is_empty() && queue.pop_front().is_none() && queue.remove(0).is_none());
        queue.extend([2, 3, 4]);
        queue.insert(0, 1);
        assert_eq!(
            queue.iter().rev().copied().collect::<Vec<_>>(),
            [4, 3, 2, 1]
        );
        queue.retain(|item| *item != 3);
        assert_eq!((queue.len(), queue.front()), (3, Some(&1)));
        assert_eq!(queue.remove(1), Some(2));
        assert_eq!((queue.pop_front(), queue.pop_front()), (Some(1), Some(4)));
        assert!(queue.is_empty() && queue.0.is_none());
        queue.push_back(5);
        assert_eq!(queue.into_iter().collect::<Vec<_>>(), [5]);
    }
}
