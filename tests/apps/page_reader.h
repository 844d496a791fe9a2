#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace decant::apps {

/// One element of a page as a strict reader sees it.
struct Element {
  std::string name;
  std::map<std::string, std::string> attributes = {};  ///< with entities read
  std::string text = {};                               ///< all of it and of what is inside, read
  size_t begin = 0;                                    ///< in the page
};

/// Every element of a page of HTML whose elements are all closed (but meta, link, img), in the
/// order in which they begin. Fails the test where they are not, where an attribute stands twice or
/// an & or < is not written out.
std::vector<Element> elements_of(std::string_view page);

/// Those of a name, or of a name and a class.
std::vector<Element> select(const std::vector<Element>& elements, const std::string& name,
                            const std::string& of_class = "");

}  // namespace decant::apps
