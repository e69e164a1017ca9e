// A deploy gone wrong: a module that is not there.

const express = require('a-module-that-nobody-has-installed');

express().listen(process.env.PORT);
