"""Number of threads that NumPy and SciPy use for linear algebra."""

from threadpoolctl import threadpool_info, threadpool_limits


def blas_threads_in(monkeypatch, owner, name, run):
    """Returns the numbers of threads in all calls of a function when two threads are allowed.

    Args:
        monkeypatch: The fixture of pytest.
        owner: Module or object with the function.
        name: Name of the function.
        run: Function without arguments that causes the calls.
    """
    seen, original = set(), getattr(owner, name)

    def watched(*arguments, **options):
        seen.update(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, watched)
    with threadpool_limits(2):
        run()
    return seen
