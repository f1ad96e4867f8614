#ifndef CSTORAGEFAULTS_H
#define CSTORAGEFAULTS_H

// Preloaded into a program (LD_PRELOAD), this makes calls on some files fail, as a failing disk would:
//
//     STORAGE_FAULT=CALLS:PATTERN:AFTER:CODE
//
// CALLS   of write, direct (writes past the page cache alone), fsync, rename, open (for writing), mkdir, unlink, ftruncate; with commas between them
// PATTERN of the path, as fnmatch has it (`*` matches `/`, too); of a rename the new name
// AFTER   how many such calls still work; all later ones fail
// CODE    the errno that they leave
//
// In a program that has it not set nothing fails.

#endif
