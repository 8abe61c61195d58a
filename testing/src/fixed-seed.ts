/**
 * Set-up of every test project but the long one: properties try the same cases in every run, so that a change is
 * refused for what it did and not for the luck of a draw. The long runs draw anew each time, and find what is new.
 */
import { configureGlobal } from "fast-check";

configureGlobal({ seed: 20_261_122 });
