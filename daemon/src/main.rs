fn main() -> std::process::ExitCode {
    countersignd::run::main()
}
