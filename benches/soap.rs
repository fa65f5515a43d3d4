//! SOAP messages: time and allocations to write one and to read one.
//!
//! Run by `make bench-code`. Times depend on this machine. Allocations are exact, and printed first.

#![allow(clippy::print_stdout)]

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use ukg_pro::credentials::Credentials;
use ukg_pro::sensitive::Sensitive;
use ukg_pro::soap::read;
use ukg_pro::soap::write::{self, MessageId};

fn secret(text: &str) -> Sensitive {
    Sensitive::new(text.to_owned())
}

/// Returns an answer of a data service. Without people it is as small as an answer of LoginService.
fn answer(people: usize) -> String {
    let person = "<b:EmployeePerson><b:FirstName>x</b:FirstName><b:LastName>&amp;y</b:LastName></b:EmployeePerson>";
    format!(
        r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><FindPeopleResponse xmlns="http://www.ultipro.com/services/employeeperson"><FindPeopleResult xmlns:b="http://www.ultipro.com/contracts"><b:OperationResult><b:HasErrors>false</b:HasErrors><b:HasWarnings>false</b:HasWarnings><b:Messages><b:OperationMessage><b:Code>OK</b:Code><b:Severity>Information</b:Severity></b:OperationMessage></b:Messages><b:Success>true</b:Success></b:OperationResult><b:Results>{}</b:Results></FindPeopleResult></FindPeopleResponse></s:Body></s:Envelope>"#,
        person.repeat(people)
    )
}

fn main() {
    let credentials = Credentials {
        username: secret("svc-acme"),
        password: secret("correct<horse>&battery"),
        customer_api_key: secret("ACME1"),
        user_api_key: None,
    };
    let (user_api_key, token) = (secret("AK4TQ0ZL81XA"), secret("8f2f0f2c-6a53-4f5c-9a5e-6f6a2d1c9b7e"));
    let login = || write::authenticate(black_box(&credentials), black_box(&user_api_key), &MessageId::random());
    let query = || {
        write::find_nobody(
            "EmployeePerson",
            "FindPeople",
            black_box(&token),
            black_box(&credentials.customer_api_key),
            &MessageId::random(),
        )
    };
    let (empty, full) = (answer(0), answer(1000));
    let small = || read::envelope(black_box(empty.as_bytes()));
    let large = || read::envelope(black_box(full.as_bytes()));

    let allocations = |name: &str, info: allocation_counter::AllocationInfo| {
        println!(
            "{name:<28} {:>6} allocations {:>9} bytes in all {:>9} at once",
            info.count_total, info.bytes_total, info.bytes_max
        );
    };
    allocations("write login", allocation_counter::measure(|| drop(login())));
    allocations("write query", allocation_counter::measure(|| drop(query())));
    allocations("read answer, 0 people", allocation_counter::measure(|| drop(small())));
    allocations("read answer, 1000 people", allocation_counter::measure(|| drop(large())));

    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("write login", |bencher| bencher.iter(login));
    criterion.bench_function("write query", |bencher| bencher.iter(query));
    for (name, text) in [("read answer, 0 people", &empty), ("read answer, 1000 people", &full)] {
        let mut group = criterion.benchmark_group("read");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| read::envelope(black_box(text.as_bytes()))));
        group.finish();
    }
    criterion.final_summary();
}
