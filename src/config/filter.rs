//! What is logged, in the words of `log.filter`.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Or what is wrong with it. A bare word is a level: the library takes any other for a module's name, and would log nothing by
/// it. Over letters beyond ASCII, which no module's name has, it breaks where a blank stands before them.
pub fn read(filter: &str) -> Result<EnvFilter, String> {
    if !filter.is_ascii() {
        return Err("modules and levels are written in ASCII".to_owned());
    }
    let plain = |part: &&str| part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    for word in filter.split(',').map(str::trim).filter(plain) {
        if word.parse::<LevelFilter>().is_err() {
            return Err(format!("{word:?} is no level; those are error, warn, info, debug, trace and off"));
        }
    }
    EnvFilter::try_new(filter).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn whatever_stands_there_is_a_filter_or_told_to_be_none() {
        for good in ["info", "info,opros::engine=debug", "opros[{job=1}]=trace", "warn,sqlx=off"] {
            assert!(read(good).is_ok(), "{good:?}");
        }
        for wrong in ["a=b=c", "inof", "info,verbose", "\t\t ,\t ĺ<<info,ź", " ,ĺĺĺ,x"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
