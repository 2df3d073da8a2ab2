"""The tests of ctckit. A folder tests the folder of the package that has its name."""
