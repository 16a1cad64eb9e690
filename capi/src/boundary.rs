//! Where pointers are looked at and panics end.

use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::slice;

use crate::report::Report;
use crate::status::{Field, Status};

/// What every handle has besides its content.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// Of the last call that failed.
    report: Option<Report>,
    /// A call has panicked; nothing is known of the content any more.
    broken: bool,
}

/// What a handle points to.
pub(crate) trait Handle {
    fn trouble(&mut self) -> &mut Trouble;
}

/// Runs `body` on what `handle` points to, and keeps its failure there.
///
/// # Safety
/// `handle` is NULL, or a live handle of this kind that nobody else uses now.
pub(crate) unsafe fn with<H: Handle>(
    handle: *mut H,
    body: impl FnOnce(&mut H) -> Result<(), Report>,
) -> Status {
    // SAFETY: as the caller says.
    let Some(handle) = (unsafe { exclusive(handle) }) else { return Status::Argument };
    if handle.trouble().broken {
        return Status::Internal;
    }
    match caught(|| body(handle)) {
        Some(Ok(())) => Status::Ok,
        Some(Err(report)) => {
            let status = report.status();
            handle.trouble().report = Some(report);
            status
        }
        None => {
            *handle.trouble() = Trouble { report: Some(Report::internal()), broken: true };
            Status::Internal
        }
    }
}

/// # Safety
/// As [`with`], for a lifetime that the caller must not exceed.
pub(crate) unsafe fn exclusive<'a, H>(handle: *mut H) -> Option<&'a mut H> {
    if !handle.is_aligned() {
        return None;
    }
    // SAFETY: it is aligned, and NULL or live, and the caller has it alone.
    unsafe { handle.as_mut() }
}

/// The failure kept in `handle`, a part of it. Never NULL.
///
/// # Safety
/// As [`with`].
pub(crate) unsafe fn text<H: Handle>(handle: *mut H, field: u32) -> *const c_char {
    // SAFETY: as the caller says.
    let Some(handle) = (unsafe { exclusive(handle) }) else {
        return c"there is no handle".as_ptr();
    };
    let field = Field::ALL.into_iter().find(|known| *known as u32 == field);
    match (&handle.trouble().report, field) {
        (Some(report), Some(field)) => report.text(field).as_ptr(),
        _ => c"".as_ptr(),
    }
}

/// A new handle; NULL if making it panicked.
pub(crate) fn give<H>(content: impl FnOnce() -> H) -> *mut H {
    caught(|| Box::into_raw(Box::new(content()))).unwrap_or(ptr::null_mut())
}

/// Frees a handle.
///
/// # Safety
/// `handle` is NULL, or came from [`give`] and is not used again.
pub(crate) unsafe fn free<H>(handle: *mut H) {
    if handle.is_null() || !handle.is_aligned() {
        return;
    }
    // SAFETY: it came out of a box, and goes back once.
    let content = unsafe { Box::from_raw(handle) };
    caught(|| drop(content));
}

/// `None` if `body` panicked.
fn caught<T>(body: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(body))
        .map_err(|payload| {
            // What a panic carries may panic when it is dropped.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        })
        .ok()
}

/// `len` bytes; none at all for NULL with 0.
///
/// # Safety
/// `bytes` is NULL, or `len` bytes can be read there, and are not written to while the result lives.
pub(crate) unsafe fn slice<'a>(
    name: &'static str,
    bytes: *const u8,
    len: usize,
) -> Result<&'a [u8], Report> {
    match (bytes.is_null(), len) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Report::argument(name, "so many bytes", "NULL")),
        (false, len) if isize::try_from(len).is_err() => {
            Err(Report::argument(name, "a length that memory can have", &len.to_string()))
        }
        // SAFETY: not NULL, not too long, and for the rest the caller answers.
        (false, len) => Ok(unsafe { slice::from_raw_parts(bytes, len) }),
    }
}

/// A text.
///
/// # Safety
/// `text` is NULL, or ends with a zero byte and is not written to while the result lives.
pub(crate) unsafe fn string<'a>(
    name: &'static str,
    text: *const c_char,
) -> Result<&'a str, Report> {
    if text.is_null() {
        return Err(Report::argument(name, "a text", "NULL"));
    }
    // SAFETY: not NULL, and for the rest the caller answers.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| Report::argument(name, "a text in UTF-8", "other bytes"))
}

/// Where a result goes.
pub(crate) struct Place<T>(*mut T);

impl<T> Place<T> {
    /// # Safety
    /// `place` is NULL, or can be written to as long as the result lives.
    pub(crate) unsafe fn new(name: &'static str, place: *mut T, before: T) -> Result<Self, Report> {
        if place.is_null() || !place.is_aligned() {
            let found = if place.is_null() { "NULL" } else { "a misaligned pointer" };
            return Err(Report::argument(name, "a place for the result", found));
        }
        let place = Self(place);
        place.set(before);
        Ok(place)
    }

    /// Never makes a reference: places may overlap, and what stands there may be no value at all.
    pub(crate) fn set(&self, value: T) {
        // SAFETY: `new` was told that it can be written to, and has seen that it is aligned.
        unsafe { self.0.write(value) }
    }
}

#[cfg(test)]
#[allow(clippy::panic, reason = "that is what these tests are about")]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Thing {
        trouble: Trouble,
        calls: u32,
    }

    impl Handle for Thing {
        fn trouble(&mut self) -> &mut Trouble {
            &mut self.trouble
        }
    }

    /// What unwinds again when it is dropped.
    struct Again;

    impl Drop for Again {
        fn drop(&mut self) {
            std::panic::panic_any("again");
        }
    }

    #[test]
    fn a_panic_ends_the_handle_and_goes_no_further() {
        let thing = give(Thing::default);
        let call = |body: fn(&mut Thing) -> Result<(), Report>| {
            // SAFETY: a live handle.
            unsafe { with(thing, body) }
        };
        assert_eq!(call(|_| std::panic::panic_any(Again)), Status::Internal);
        assert_eq!(
            call(|thing| {
                thing.calls += 1;
                Ok(())
            }),
            Status::Internal
        );
        // SAFETY: a live handle.
        let message = unsafe { text(thing, Field::Message as u32) };
        // SAFETY: a text of this library.
        let message = unsafe { CStr::from_ptr(message) };
        assert!(message.to_bytes().starts_with(b"a bug of the library"));
        // SAFETY: a live handle.
        assert_eq!(unsafe { &*thing }.calls, 0, "nothing is called any more");
        // SAFETY: not used again.
        unsafe { free(thing) };
        // Neither does one from making a handle, or from its end.
        let none = give(|| -> Thing { std::panic::panic_any("no") });
        assert!(none.is_null());
        // SAFETY: made here, and not used again.
        unsafe { free(Box::into_raw(Box::new(Again))) };
    }
}
